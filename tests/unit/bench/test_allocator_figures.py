"""What follows from the figures of pools."""

from typing import Any

from coordsvc.bench.allocator_figures import against_rounds, summary


def measured(median_us: float, p99_us: float, us_per_lease: float) -> dict[str, Any]:
    return {
        "median_us": median_us,
        "p99_us": p99_us,
        "us_per_lease": us_per_lease,
        "rss_mb": 10 * median_us,
        "events": {},
        "gc": {},
        "held": 0.9,
        "waiting": 3,
    }


def test_growth_is_the_median_of_the_largest_pool_over_the_smallest() -> None:
    pools = {100: measured(20, 90, 100), 50_000: measured(25, 70, 120)}
    pools[100]["rescan"] = {"us_per_lease": 450.0}
    told = summary(pools, {"first_come": measured(1, 2, 3)}, rescanned=100)
    assert told["growth"] == 1.25
    assert told["p99_us_worst"] == 90
    assert told["rss_mb"] == 250
    assert told["median_us"] == {"100": 20, "50000": 25}
    assert (told["vs_rescan"], told["vs_rescan_nodes"]) == (4.5, 100)
    assert told["policies"] == {"first_come": {"median_us": 1, "p99_us": 2, "us_per_lease": 3}}


def test_a_round_is_divided_by_what_it_places() -> None:
    rounds = {"round_us": 2_000.0, "leases_per_round": 80, "us_per_lease": 25.0}
    told = against_rounds({"rounds": rounds, "us_per_lease": 100.0})
    assert told["vs_lp"] == 0.25
    assert told["vs_lp_each_event"] == 20.0


def test_without_a_solver_the_reason_is_told() -> None:
    told = against_rounds({"rounds": {"skipped": "no highspy"}, "us_per_lease": 100.0})
    assert told == {"vs_lp": None, "vs_lp_skipped": "no highspy"}
