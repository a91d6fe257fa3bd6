"""Roles take turns."""

from coordsvc.core.policies.round_robin import RoundRobin
from coordsvc.core.resources import Resources
from tests.unit.core.policies.filling import ENDLESS, GPU, Pool, wait

CAPACITY = Resources(gpu_milli=8_000)


def test_agents_take_turns_by_name_at_first() -> None:
    pool = Pool(policy=RoundRobin(), capacity=CAPACITY)
    for agent in ("c", "a", "b"):
        pool.agent(agent, wants=ENDLESS)
    assert pool.fill() == ["a", "b", "c", "a", "b", "c", "a", "b"]


def test_neither_what_is_held_nor_how_long_one_waits_changes_whose_turn_it_is() -> None:
    pool = Pool(policy=RoundRobin(), capacity=CAPACITY)
    pool.agent("large", GPU + GPU, wants=ENDLESS)
    pool.agent("small", GPU)
    pool.phase(0, "small", wait("s1", asked=0))
    pool.phase(0, "small", wait("s2", asked=0))
    assert [pool.serve() for _ in range(4)] == ["large", "s1", "large", "s2"]


def test_who_asks_again_after_a_while_is_next_but_has_saved_up_nothing() -> None:
    pool = Pool(policy=RoundRobin(), capacity=CAPACITY)
    pool.agent("a", wants=3)
    pool.agent("b", wants=1)
    assert [pool.serve() for _ in range(3)] == ["a", "b", "a"]
    pool.roles["b"].wants = 3
    assert pool.fill() == ["a", "b", "a", "b", "a", "b", "b"]


def test_a_tenant_has_one_turn_however_many_agents_it_has() -> None:
    pool = Pool(policy=RoundRobin(), capacity=CAPACITY)
    pool.tenant("many")
    pool.tenant("one")
    pool.agent("many/a", tenant="many", wants=ENDLESS)
    pool.agent("many/b", tenant="many", wants=ENDLESS)
    pool.agent("one/a", tenant="one", wants=ENDLESS)
    assert pool.fill()[:6] == ["many/a", "one/a", "many/b", "one/a", "many/a", "one/a"]
