"""Gains over walls: the runs that find them, and what is told of them."""

from math import exp

import pytest

from coordsvc.bench import policies_gain as gain
from coordsvc.bench.policies_gain_runs import (
    LIMITS,
    MIXES,
    STATIC,
    Probe,
    Search,
    best_split,
    bound_of,
    largest_load,
    p95_near_the_limit,
    saturated,
)
from coordsvc.bench.policies_runs import doing

WALLED = Search(
    workload="two_window",
    policy=STATIC,
    seed=1,
    window_s=20.0,
    split=(("role1", 7), ("role2", 2), ("role3", 7)),
)
SHARED = Search(workload="two_window", policy="first_come", seed=1, window_s=20.0)


def test_the_bounds_are_the_sums_of_peaks() -> None:
    assert bound_of("two_window") == pytest.approx(1.6)
    assert bound_of("rotating") == pytest.approx(4.5)


def test_a_bisection_finds_where_a_rising_curve_crosses() -> None:
    asked = []

    def p95(load: float) -> float:
        asked.append(load)
        return exp(10 * load)

    assert largest_load(p95, exp(7.3), 0.5, 1.0) == pytest.approx(0.73, abs=1e-6)
    assert len(asked) <= 8
    assert largest_load(p95, exp(11), 0.5, 1.0) == 1.0, "no load above the highest is served"
    assert largest_load(p95, exp(1), 0.5, 1.0) is None


def test_a_load_is_run_once_whatever_the_limits() -> None:
    probe = Probe(SHARED)
    first = probe.p95(0.7)
    assert probe.p95(0.7) == first
    assert list(probe.seen) == [0.7]
    assert probe.within(first) is probe.seen[0.7]
    assert probe.within(first - 0.01) is None


def test_walls_serve_less_than_a_shared_pool_when_users_never_think() -> None:
    _, walled = saturated(WALLED)
    place, shared = saturated(SHARED)
    assert place == ("two_window", "first_come")
    assert walled["served"] < shared["served"] <= 1.05
    assert walled["p95"] > shared["p95"]


def test_the_best_split_is_no_worse_than_the_one_by_peaks() -> None:
    found = best_split(WALLED, p95_near_the_limit, (1,))
    assert sum(slots for _, slots in found) == MIXES["two_window"][1]
    other = Search(workload="two_window", policy=STATIC, seed=1, window_s=20.0, split=found)
    assert p95_near_the_limit(other) <= p95_near_the_limit(WALLED)


def test_of_those_no_slower_than_walls_the_one_that_serves_most_is_shown() -> None:
    def one(share: float, slower: float) -> dict[str, object]:
        return {"share_of_bound": share, "p95_vs_static": {"mean": slower}}

    full = dict.fromkeys(gain.POLICIES, one(0.90, 0.5)) | {
        "fair_share": one(0.95, 0.6),
        "virtual_finish": one(0.99, 1.2),
    }
    must = gain._shown("two_window", {"saturated": full, "at_limits": {}})
    assert must[0]["what"] == "two_window, saturated: fair_share, share of the bound"
    assert must[0]["reached"] == 0.95


def test_every_way_of_measuring_is_told_with_its_target() -> None:
    with doing(1) as do:
        told = gain.measure([1], 2.0, do, lambda _: None)
    assert set(told["mixes"]) == set(MIXES)
    for mix in told["mixes"].values():
        assert set(mix["at_limits"]) == {str(limit) for limit in LIMITS}
        assert set(gain.POLICIES) <= set(mix["saturated"])
    assert all(shown["target"] in {0.93, 1.0} for shown in told["must_show"])
