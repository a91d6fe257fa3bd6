"""A run cut into windows: what they add up to, by books that the sampler does not keep."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from coordsvc.core.units import SECOND, Micros
from coordsvc.core.window import Window
from coordsvc.simulation.settings import FaultTerms, SimSettings
from coordsvc.simulation.windows import windows
from coordsvc.simulation.world import World

TEN_S = Micros(10 * SECOND)
HALF_S = Micros(SECOND // 2)
BASE = SimSettings(lasts_us=Micros(60 * SECOND), load=0.7)


def nothing(_: World) -> None:
    """Turn no dial."""


def cut(settings: SimSettings, dial=nothing) -> tuple[World, list[Window]]:
    world = World(settings)
    return world, list(windows(world, TEN_S, HALF_S, dial))


def ended(world: World) -> Iterator:
    return (turn for turn in world.turns if turn.ended is not None)


def test_windows_follow_each_other_to_the_end_of_the_run() -> None:
    _, seen = cut(replace(BASE, lasts_us=Micros(65 * SECOND)))
    assert [one.began for one in seen] == [n * TEN_S for n in range(6)]
    assert {one.lasts_us for one in seen} == {TEN_S}
    assert all(one.flaw() is None for one in seen)


def test_turns_and_their_time_are_counted_once() -> None:
    world, seen = cut(BASE)
    assert sum(one.turns for one in seen) == sum(1 for _ in ended(world))
    under_way = sum((turn.ended or 6 * TEN_S) - turn.arrived for turn in world.turns)
    assert sum(one.concurrency * TEN_S for one in seen) == pytest.approx(under_way)
    coordinated = sum(turn.ended - turn.arrived - turn.turn.cost_us for turn in ended(world))
    assert sum(one.c_coord_us * one.turns for one in seen) == pytest.approx(coordinated)
    slow = sum(1 for turn in ended(world) if _c_coord(turn) > HALF_S)
    assert sum(one.turns_slow for one in seen) == slow > 0


def _c_coord(turn) -> int:
    return turn.ended - turn.arrived - turn.turn.cost_us


def test_a_pool_with_places_to_spare_waits_for_messages_only() -> None:
    _, seen = cut(replace(BASE, load=0.1))
    assert all(one.capacity_us < one.c_coord_us < 50_000 for one in seen)
    assert sum(one.turns_slow for one in seen) == 0


def test_in_a_full_pool_nearly_all_of_c_coord_is_for_want_of_capacity() -> None:
    _, seen = cut(replace(BASE, load=1.5))
    assert 0.9 * seen[-1].c_coord_us < seen[-1].capacity_us <= seen[-1].c_coord_us
    assert seen[-1].load == pytest.approx(1.0, abs=0.02)


def test_engines_that_slow_each_other_show_as_want_of_capacity_too() -> None:
    _, seen = cut(replace(BASE, load=0.3, contention=0.3))
    assert all(one.capacity_us > 0.5 * one.c_coord_us for one in seen)


def test_load_is_what_was_offered() -> None:
    _, seen = cut(replace(BASE, lasts_us=Micros(300 * SECOND)))
    assert sum(one.load for one in seen) / len(seen) == pytest.approx(0.7, abs=0.06)
    assert all(one.accelerators == pytest.approx(16) for one in seen)


def test_a_dial_is_turned_before_each_window() -> None:
    def loses(world: World) -> None:
        if world.clock.now() == 3 * TEN_S:
            world.node_dies(0)

    gone = FaultTerms(node_away_us=Micros(1_000 * SECOND))
    world, seen = cut(replace(BASE, faults=gone), loses)
    assert [round(one.accelerators) for one in seen] == [16, 16, 16, 12, 12, 12]
    assert seen[3].retries == world.attempts_lost > 0


def test_messages_may_come_to_be_lost_in_a_run() -> None:
    def loses(world: World) -> None:
        if world.clock.now() == 3 * TEN_S:
            world.wire.loses(0.1)

    _, seen = cut(BASE, loses)
    assert [one.retries for one in seen[:3]] == [0, 0, 0]
    assert min(one.retries for one in seen[3:]) > 0
    assert all(one.offers_made > 0 for one in seen)


def test_agents_may_come_to_be_slow_in_a_run() -> None:
    def slows(world: World) -> None:
        world.slow_us = Micros(world.clock.now() // 100)

    slow = FaultTerms(slow_agents=1.0, slow_us=Micros(0))
    _, seen = cut(replace(BASE, load=0.3, faults=slow), slows)
    assert seen[0].c_coord_us < 50_000
    assert 200_000 < seen[3].c_coord_us < seen[5].c_coord_us


def test_offers_that_nobody_used_are_counted() -> None:
    _, seen = cut(replace(BASE, load=0.02, lasts_us=Micros(200 * SECOND)))
    assert sum(one.offers_made for one in seen) >= sum(one.offers_accepted for one in seen) > 0


def test_a_window_without_turns_has_no_means() -> None:
    _, seen = cut(replace(BASE, load=0.001))
    empty = [one for one in seen if not one.turns]
    assert empty
    assert {one.c_coord_us for one in empty} == {one.p95_us for one in empty} == {None}
