"""Walls: a fixed part for each, and no borrowing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.policies.static_partition import StaticPartition
from coordsvc.core.resources import Resources
from coordsvc.core.units import RoleId
from tests.unit.core.policies.filling import ENDLESS, GPU, Pool, wait


def gpus(count: int) -> Resources:
    return Resources(gpu_milli=count * 1_000)


def pool(capacity: Resources, **shares: int) -> Pool:
    named = {RoleId(role): share for role, share in shares.items()}
    return Pool(policy=StaticPartition(shares=named), capacity=capacity)


def test_nobody_gets_more_than_its_part_even_while_all_else_is_idle() -> None:
    walled = pool(gpus(10), planner=2, responder=7, checker=1)
    walled.agent("planner", wants=ENDLESS)
    walled.agent("responder")
    walled.agent("checker")
    assert walled.fill() == ["planner", "planner"]
    assert walled.free() == gpus(8)


def test_what_is_given_back_is_used_again_behind_the_same_wall() -> None:
    walled = pool(gpus(2), a=1, b=1)
    walled.agent("a", wants=ENDLESS)
    walled.agent("b", wants=ENDLESS)
    walled.fill()
    walled.give_back("a")
    assert walled.serve() == "a"
    assert walled.serve() is None


def test_among_roles_with_room_first_come_is_first_served() -> None:
    walled = pool(gpus(4), a=1, b=1)
    walled.agent("a")
    walled.agent("b")
    for n, agent in enumerate("babbab"):
        walled.phase(n, agent, wait(f"{agent}{n}", asked=n))
    # the third of b waits for its own room, and the second of a goes before it
    assert walled.fill() == ["b0", "a1", "b2", "a4"]


def test_a_part_is_of_every_resource() -> None:
    walled = pool(Resources(4_000, 8_000), a=1, b=1)
    walled.agent("a", Resources(1_000, 4_000), wants=ENDLESS)
    walled.agent("b", wants=ENDLESS)
    assert walled.fill() == ["a", "b", "b"]


def test_a_tenants_agents_share_its_part() -> None:
    walled = pool(gpus(8), x=3, y=1)
    walled.tenant("x")
    walled.tenant("y")
    for agent in ("x/a", "x/b", "y/a"):
        walled.agent(agent, tenant=agent[0], wants=ENDLESS)
    walled.fill()
    counts = walled.counts()
    assert counts["x/a"] + counts["x/b"] == 6
    assert counts["y/a"] == 2


def test_a_part_that_is_no_whole_number_of_bundles_leaves_room_unused() -> None:
    walled = pool(gpus(4), a=1, b=1, c=1)
    for agent in "abc":
        walled.agent(agent, wants=ENDLESS)
    assert walled.fill() == ["a", "b", "c"]
    assert walled.free() == GPU


def test_a_part_smaller_than_a_bundle_is_a_right_to_one() -> None:
    walled = pool(gpus(2), a=99, b=1)
    walled.agent("b", wants=ENDLESS)
    assert walled.fill() == ["b"]


def test_who_has_no_share_holds_nothing() -> None:
    walled = pool(gpus(4), a=1, b=0)
    walled.agent("b", wants=ENDLESS)
    walled.agent("stranger", wants=ENDLESS)
    assert walled.fill() == []


@pytest.mark.parametrize("shares", [{}, {"a": 0}, {"a": -1, "b": 2}])
def test_walls_with_nobody_behind_them_are_a_bug(shares: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        StaticPartition(shares={RoleId(role): share for role, share in shares.items()})


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(4, 60))
def test_each_holds_its_part_rounded_down_but_one_bundle_at_least(
    shares: list[int], room: int
) -> None:
    walled = pool(gpus(room), **{f"r{n}": share for n, share in enumerate(shares)})
    for n in range(len(shares)):
        walled.agent(f"r{n}", wants=ENDLESS)
    walled.fill()
    parts = [max(1, room * share // sum(shares)) for share in shares]
    counts = list(walled.counts().values())
    if sum(parts) <= room:
        assert counts == parts
    else:  # the rights to one bundle exceed the pool, and who comes last finds it full
        assert sum(counts) == room
        assert all(count <= part for count, part in zip(counts, parts, strict=True))
