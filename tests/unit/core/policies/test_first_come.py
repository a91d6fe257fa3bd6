"""First come, first served; and what `Ordering` gives to every policy."""

from coordsvc.core.policies import Ordering
from coordsvc.core.policies.first_come import FirstCome
from coordsvc.core.resources import Resources
from tests.unit.core.policies.filling import GPU, Pool, at, claim, view, wait

CAPACITY = Resources(gpu_milli=8_000)


def test_the_phase_that_asked_first_is_served_wherever_it_waits() -> None:
    pool = Pool(policy=FirstCome(), capacity=CAPACITY)
    pool.tenant("x")
    pool.tenant("y")
    for agent in ("x/planner", "x/checker", "y/planner"):
        pool.agent(agent, tenant=agent[0])
    pool.phase(3, "x/planner", wait("third", asked=3))
    pool.phase(3, "x/planner", wait("first", asked=1))
    pool.phase(3, "y/planner", wait("second", asked=2))
    pool.phase(4, "x/checker", wait("fourth", asked=4))
    assert pool.fill() == ["first", "second", "third", "fourth"]


def test_each_phase_of_a_turn_queues_anew() -> None:
    pool = Pool(policy=FirstCome(), capacity=CAPACITY)
    pool.agent("planner")
    pool.agent("responder")
    pool.phase(5, "responder", wait("long under way", arrived=0, asked=5))
    pool.phase(5, "planner", wait("new", arrived=4, asked=4))
    assert pool.fill() == ["new", "long under way"]


def test_phases_that_asked_at_once_go_by_their_turns_names() -> None:
    waits = [wait("b", asked=1), wait("a", asked=1), wait("c", asked=0)]
    assert [w.turn for w in sorted(waits, key=FirstCome().urgency)] == ["c", "a", "b"]


def test_a_desk_that_told_of_no_phase_comes_last_and_then_the_emptier() -> None:
    told, full, empty = claim("a-1", head=wait("t")), claim("a-2", issued=2), claim("a-3")
    claims = sorted([full, empty, told], key=FirstCome().desk_key)
    assert claims == [told, empty, full]


def test_an_ordering_has_nothing_to_remember() -> None:
    plain = Ordering()
    plain.arrived(at(1), claim("a-1").agent, wait("t"), CAPACITY)
    assert vars(plain) == {}
    assert not plain.refresh(at(9), {})
    assert plain.role_key(view("a"), (7,), GPU, CAPACITY) == (7,)
