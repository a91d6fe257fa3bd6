"""Metrics of the pool: what the allocator last told, and no more."""

from dataclasses import replace

from prometheus_client import CollectorRegistry

from coordsvc.telemetry.pool import PoolMetrics, PoolSnapshot
from tests.unit.telemetry.told import SNAPSHOT, value


class Shown(PoolMetrics):
    """With its registry at hand."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        super().__init__(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return value(self.registry, name, **labels)


def shown() -> Shown:
    """Return metrics that have been told once."""
    metrics = Shown()
    assert metrics.show(SNAPSHOT)
    return metrics


def test_the_pool_is_shown_as_it_was_told() -> None:
    metrics = shown()
    assert metrics.value("coordsvc_policy", policy="utility") == 1
    assert metrics.value("coordsvc_utility", agent="planner") == 1.5
    assert metrics.value("coordsvc_dominant_share", agent="responder") == 0.2
    assert metrics.value("coordsvc_preempted") == 3
    assert metrics.value("coordsvc_gangs_waiting") == 2
    assert metrics.value("coordsvc_limits_met", limit="gangs_max") == 5
    metrics.show(replace(SNAPSHOT, policy="slack", utility={}))
    assert metrics.value("coordsvc_policy", policy="utility") == 0
    assert metrics.value("coordsvc_policy", policy="slack") == 1
    assert metrics.value("coordsvc_utility", agent="planner") == 0


def test_the_pool_is_shown_in_whole_resources() -> None:
    metrics = shown()
    assert metrics.value("coordsvc_alloc", agent="planner", resource="cpu") == 2.5
    assert metrics.value("coordsvc_tenant_alloc", tenant="research", resource="cpu") == 0.5
    assert metrics.value("coordsvc_capacity", resource="bandwidth") == 1.5
    assert metrics.value("coordsvc_offers_open", agent="planner", state="issued") == 3
    assert metrics.value("coordsvc_offers_total", agent="planner", state="released") == 7
    assert metrics.value("coordsvc_phases_waiting", agent="responder") == 2
    assert metrics.value("coordsvc_allocator_epoch") == 1
    assert metrics.value("coordsvc_nodes") == 2
    assert metrics.value("coordsvc_allocator_refused_events") == 4
    assert metrics.value("coordsvc_broken_reservations") == 1


def ended(metrics: Shown) -> float | None:
    return metrics.value("coordsvc_offers_total", agent="planner", state="released")


def test_an_ended_offer_is_counted_once_however_often_it_is_told() -> None:
    metrics = shown()
    metrics.show(SNAPSHOT)
    assert ended(metrics) == 7
    metrics.show(replace(SNAPSHOT, ended_offers={("planner", "released"): 9}))
    assert ended(metrics) == 9


def test_a_new_allocator_counts_from_none_and_the_total_goes_on() -> None:
    metrics = shown()
    metrics.show(replace(SNAPSHOT, epoch=2, ended_offers={}))
    metrics.show(replace(SNAPSHOT, epoch=2, ended_offers={("planner", "released"): 2}))
    assert ended(metrics) == 9


def test_an_allocator_whose_time_is_over_is_not_listened_to() -> None:
    """It may still live where nobody can stop it; what it says would be counted again and again."""
    metrics = shown()
    for _ in range(3):
        metrics.show(replace(SNAPSHOT, epoch=2, nodes=1))
        metrics.show(SNAPSHOT)
    assert metrics.value("coordsvc_allocator_epoch") == 2
    assert metrics.value("coordsvc_nodes") == 1
    assert ended(metrics) == 14


def test_what_is_no_longer_told_of_is_shown_as_none() -> None:
    """All replicas of an agent are gone: what they held and waited for is not theirs any more."""
    metrics = shown()
    metrics.show(PoolSnapshot(epoch=1, nodes=0))
    assert metrics.value("coordsvc_alloc", agent="planner", resource="cpu") == 0
    assert metrics.value("coordsvc_capacity", resource="cpu") == 0
    assert metrics.value("coordsvc_offers_open", agent="planner", state="issued") == 0
    assert metrics.value("coordsvc_phases_waiting", agent="responder") == 0
    assert ended(metrics) == 7


def test_what_is_lacked_and_what_lags_is_shown() -> None:
    metrics = Shown()
    told = replace(
        SNAPSHOT,
        demand={("planner", "cpu"): 4_000},
        filters={"planner": 3},
        draining=1,
        log_lag=12,
        engine_running=5,
        engine_waiting=2,
    )
    metrics.show(told)
    assert metrics.value("coordsvc_demand", agent="planner", resource="cpu") == 4
    assert metrics.value("coordsvc_filters_active", agent="planner") == 3
    assert metrics.value("coordsvc_nodes_draining") == 1
    assert metrics.value("coordsvc_decision_log_lag") == 12
    assert metrics.value("coordsvc_engine_running") == 5
    assert metrics.value("coordsvc_engine_waiting") == 2
    assert (metrics.value("coordsvc_allocator_last_word_seconds") or 0) > 1.7e9


def test_an_allocator_of_the_past_is_told_that_it_is_not_heard() -> None:
    metrics = shown()
    assert metrics.show(replace(SNAPSHOT, epoch=2))
    assert not metrics.show(SNAPSHOT)
