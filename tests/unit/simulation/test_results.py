"""What a run came to, from books of its own."""

import json

import pytest

from coordsvc.core.units import SECOND, Micros
from coordsvc.simulation.results import jain, percentile, result_of
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.world import World


def ended(**what) -> World:
    world = World(SimSettings(lasts_us=Micros(20 * SECOND), **what))
    world.run()
    return world


def test_percentiles_are_by_nearest_rank_and_unknown_where_turns_never_ended() -> None:
    assert [percentile([10, 20, 30, 40], 4, p) for p in (25, 26, 50, 99)] == [10, 20, 20, 40]
    assert percentile([10, 20], 4, 50) == 20
    assert percentile([10, 20], 4, 51) is None
    assert percentile([], 0, 50) is None


def test_jains_index_goes_from_one_share_of_all_to_equal_shares() -> None:
    assert jain((5, 5, 5)) == 1.0
    assert jain((5, 0, 0)) == pytest.approx(1 / 3)
    assert jain((1, 2)) == pytest.approx(0.9)
    assert jain((0, 0)) is None


def test_latencies_and_deadlines_are_those_of_the_turns_that_arrived_between_the_marks() -> None:
    world = ended(warm_us=Micros(5 * SECOND))
    result = result_of(world)
    them = [t for t in world.turns if 5 * SECOND <= t.arrived < 20 * SECOND]
    latencies = sorted(t.ended - t.arrived for t in them)
    assert result.measured == len(them) > 20
    assert result.p99_us == latencies[-1]
    assert result.mean_us == sum(latencies) // len(latencies)
    assert result.in_time == sum(t.ended <= t.deadline for t in them) / len(them)


def test_the_fleets_formula_closes() -> None:
    """T/N = C_algo/S_scale + C_coord_fleet, exactly but for rounding of the ratios."""
    world = ended(load=1.2)
    fleet = result_of(world).fleet
    turns = sum(1 for t in world.turns if t.ended is not None and t.ended < 20 * SECOND)
    assert fleet.c_algo_us / fleet.s_scale + fleet.c_coord_us == pytest.approx(
        20 * SECOND / turns, rel=1e-9
    )
    assert fleet.of_ideal == pytest.approx(fleet.utilisation, rel=1e-9)
    assert sum(fleet.states.values()) == 16 * 20 * SECOND


def test_a_run_in_which_nothing_ended_gives_no_value_and_no_nan() -> None:
    result = result_of(ended(turns_max=1, load=0.001))
    assert result.turns == 0
    assert (result.p50_us, result.in_time, result.fairness) == (None, None, None)
    assert (result.fleet.c_algo_us, result.fleet.s_measured) == (None, None)
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["finished"] == 0


def test_tenants_are_told_apart() -> None:
    result = result_of(ended(workload="tenants"))
    assert "tenant1" in result.tenants_mean_us
    assert set(result.shares) == {f"tenant{n}" for n in range(1, 9)}
    assert sum(result.shares.values()) <= 1
