"""Turns keep their place from phase to phase."""

from coordsvc.core.policies.oldest_first import OldestFirst
from coordsvc.core.resources import Resources
from tests.unit.core.policies.filling import Pool, wait

CAPACITY = Resources(gpu_milli=8_000)


def test_a_turn_under_way_is_not_overtaken_by_one_that_begins() -> None:
    pool = Pool(policy=OldestFirst(), capacity=CAPACITY)
    pool.agent("planner")
    pool.agent("responder")
    pool.phase(5, "planner", wait("new", arrived=4, asked=4))
    pool.phase(5, "responder", wait("long under way", arrived=0, asked=5))
    pool.phase(5, "planner", wait("newer", arrived=5, asked=5))
    assert pool.fill() == ["long under way", "new", "newer"]


def test_turns_that_arrived_at_once_go_by_name() -> None:
    waits = [wait("b", asked=1), wait("a", asked=2)]
    assert [w.turn for w in sorted(waits, key=OldestFirst().urgency)] == ["a", "b"]
