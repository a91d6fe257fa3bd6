"""The runs that break down, and those that do not: as they are drawn."""

from collections import Counter

import pytest

from coordsvc.bench.collapse_cases import COLLAPSING, LONG, WINDOW_US, collapsing, stationary
from coordsvc.simulation.world import World


def test_each_mechanism_comes_alike_often() -> None:
    kinds = Counter(case.kind for case in collapsing(60, seed=1))
    assert kinds == dict.fromkeys(COLLAPSING, 10)


def test_most_quiet_runs_are_busy_and_some_are_bursty_and_some_have_days() -> None:
    cases = stationary(40, seed=1, windows=30)
    assert Counter(case.kind for case in cases) == {"busy": 25, "bursty": 10, "diurnal": 5}
    busy = [case.settings.load for case in cases if case.kind == "busy"]
    assert 0.70 <= min(busy) < max(busy) <= 0.85
    assert all(case.onset is None and not case.ends for case in cases)
    long = {case.kind: case.windows for case in cases}
    assert long == {"busy": 30, "bursty": 30, "diurnal": 30 * LONG}


def test_the_same_seed_draws_the_same_and_the_next_one_another() -> None:
    assert collapsing(6, seed=5) == collapsing(6, seed=5)
    assert collapsing(6, seed=5)[3] != collapsing(6, seed=6)[3]


def test_a_drift_begins_after_some_windows_and_ends_with_the_run() -> None:
    for case in collapsing(24, seed=1):
        assert case.onset is not None
        assert 14 <= case.onset <= 22
        assert 30 <= case.windows - case.onset <= 60
        assert case.settings.lasts_us == case.windows * WINDOW_US


@pytest.mark.parametrize("kind", ["slow_agents", "retries", "nodes"])
def test_a_dial_is_left_alone_until_the_drift_begins(kind: str) -> None:
    case = next(case for case in collapsing(6, seed=3) if case.kind == kind)
    assert case.onset is not None
    world = World(case.settings)
    world.begin()
    turn = case.dial()
    for _ in range(case.onset):
        turn(world)
        assert _dials(world) == (0, 0.0, 16)
    for _ in range(case.windows - case.onset):
        turn(world)
    slow_us, lost, nodes = _dials(world)
    moved = {"slow_agents": slow_us >= 300_000, "retries": lost >= 0.035, "nodes": nodes <= 9}
    assert moved[kind]
    assert sum(moved.values()) == 1


def _dials(world: World) -> tuple[int, float, int]:
    slow = world.slow_us if world.settings.faults.slow_agents else 0
    return slow, world.wire._faults.lost, len(world.engines) if len(world.engines) > 4 else 16


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_is_asked_ends_above_what_the_pool_can_do(at: int) -> None:
    case = collapsing(3, seed=2)[at]
    turns, lasts = case.settings.workload_drawn().turns, case.settings.lasts_us
    first = sum(turn.cost_us for turn in turns if turn.arrives < 0.2 * lasts) / (0.2 * lasts)
    last = sum(turn.cost_us for turn in turns if turn.arrives > 0.9 * lasts) / (0.1 * lasts)
    assert first / 16 == pytest.approx(case.settings.load, abs=0.08)
    assert last / 16 > 1.0
