"""What Serve and Ray tell, on the page."""

import time

from prometheus_client import CollectorRegistry

from coordsvc.telemetry.service import Running, ServiceMetrics
from tests.unit.telemetry.told import value


def test_replicas_and_groups_are_shown_as_last_seen() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    assert value(registry, "coordsvc_placement_groups", state="pending") == 0
    metrics.running(Running(replicas={"Engine": 3}, groups={"created": 3, "pending": 1}))
    metrics.running(Running(replicas={"Engine": 2}, groups={"created": 2, "pending": 0}))
    assert value(registry, "coordsvc_replicas", deployment="Engine") == 2
    assert value(registry, "coordsvc_placement_groups", state="created") == 2
    assert value(registry, "coordsvc_placement_groups", state="pending") == 0


def test_a_gap_ends_where_the_count_began() -> None:
    before = time.time()
    registry = CollectorRegistry()
    ServiceMetrics(registry)
    began = value(registry, "coordsvc_instruments_start_time_seconds")
    assert began is not None
    assert before <= began <= time.time()
