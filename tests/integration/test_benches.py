"""Each benchmark runs, prints one JSON object, and what must be true of it at any speed is true."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(420)]


def bench(*words: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "coordsvc.cli", "bench", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_overhead_compares_the_chain_with_and_without_a_desk() -> None:
    told = bench("overhead", "--rounds", "1")
    assert told["p50_ratio"] > 0
    assert told["throughput_ratio"] > 0
    assert set(told["absolute"]) == {"1", "8", "32"}


@pytest.mark.model
def test_engine_does_the_same_work_with_and_without_the_service() -> None:
    told = bench("engine", "--clients", "2", "--turns", "1", "--pairs", "1")
    assert told["throughput_ratio"] > 0
    assert told["tokens_service"] == pytest.approx(told["tokens_bare"], rel=0.25)


@pytest.mark.model
def test_account_finds_each_delay_in_the_part_that_it_was_put_into() -> None:
    told = bench("account", "--turns", "8", "--rounds", "3")
    assert told["unexplained_ok"] is True
    parts = {"offer_wait", "engine_queue", "contention", "refill", "call", "agent", "retry"}
    assert set(told["injected"]) == parts | {"ingress"}
    # 200 ms were put in; a busy machine may add to a part, but not move it elsewhere
    assert all(100 < part["found_ms"] < 400 for part in told["injected"].values())


def test_faults_lose_no_turn_and_break_no_reservation() -> None:
    told = bench("faults", "--turns", "40", "--rounds", "1")
    assert told["lost"] == 0
    assert told["broken_reservations"] == 0
    assert told["leaked"] == 0
    assert all(count >= 1 for count in told["killed"].values())
    assert told["planted_broken_reservations"] > 0, "else the measurement is blind"


def test_autoscale_grows_and_shrinks_the_pool_and_loses_no_turn() -> None:
    told = bench("autoscale", "--nodes", "2", "--clients", "8")
    assert told["c_coord_peak_s"] > 0.5
    assert told["c_coord_settled_s"] < 0.5
    assert told["replicas_max"] == 2
    assert told["replicas_last"] == 1
    assert told["lost"] == 0, told["wrong"]
    assert told["reversals"] <= 1


def test_allocator_compares_what_a_lease_costs_in_pools_of_two_sizes() -> None:
    told = bench("allocator", "--quick")
    assert set(told["us_per_lease"]) == set(told["median_us"]) == {"100", "400"}
    assert told["growth"] > 0
    assert told["p99_us_worst"] == max(told["p99_us"].values())
    assert told["vs_rescan"] > 0
    assert told["vs_placement_group"] > 0
    assert told["grants_per_second"] > 0
    # the drivers' count of batches, and the allocator's own of leases
    assert told["through_the_actor"]["leases_per_exchange"] > 1


def test_policies_are_held_against_all_that_they_must_show() -> None:
    told = bench("policies", "--quick")
    assert set(told["matrix"]) == {
        *("poisson", "bursty", "diurnal", "phase_skewed", "heavy_tailed"),
        *("tenants", "heterogeneous", "closed_loop", "two_window", "rotating"),
    }
    assert set(told["gain"]["share_of_bound"]) == {"two_window", "rotating"}
    assert told["tails"]["p95_vs_round_robin"] > 0
    # so short a run meets no target; but each is told
    assert all(shown["target"] > 0 for shown in told["must_show"])
