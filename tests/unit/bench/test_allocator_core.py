"""One pool's figures."""

import io
import json
import sys

import pytest

from coordsvc.bench import allocator_core
from coordsvc.bench.allocator_core import Collections, Job, measure, rss_mb_max


def test_a_pool_tells_what_its_events_and_leases_took() -> None:
    told = measure(Job(nodes=60, leases=50, desks=40, rescan_leases=5))
    assert 0 < told["median_us"] <= told["p99_us"] <= told["max_us"]
    assert told["us_per_lease"] > told["median_us"]
    assert set(told["events"]) == {"Wanted", "Accepted", "Finished"}
    assert told["held"] == pytest.approx(0.9, abs=0.02)
    assert told["waiting"] > 0
    assert told["rescan"]["us_per_lease"] > 0
    assert "rounds" not in told


def test_another_policy_serves_the_same_pool() -> None:
    told = measure(Job(nodes=60, leases=20, desks=40, policy="round_robin"))
    assert told["held"] == pytest.approx(0.9, abs=0.02)


def test_pauses_of_the_garbage_collector_are_told() -> None:
    seen = Collections()
    assert seen.told(10) == {"us_per_lease": 0.0, "pause_ms_max": 0.0}
    seen.pauses_ns += [1_000_000, 3_000_000]
    assert seen.told(10) == {"us_per_lease": 400.0, "pause_ms_max": 3.0}
    seen("start", {})
    seen("stop", {})
    assert len(seen.pauses_ns) == 3


def test_memory_is_told_in_megabytes() -> None:
    assert 5 < rss_mb_max() < 50_000


def test_what_is_measured_is_the_first_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"nodes": 60, "leases": 10, "desks": 40}
    monkeypatch.setattr(sys, "argv", ["allocator_core", json.dumps(wanted)])
    answer = io.StringIO()
    allocator_core.main(answer)
    told = json.loads(answer.getvalue())
    assert told["job"].items() >= wanted.items()
