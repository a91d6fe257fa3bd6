"""The count of lost spans."""

from prometheus_client import CollectorRegistry, generate_latest

from coordsvc.telemetry.spans import SpanMetrics


def test_lost_spans_are_counted_from_zero() -> None:
    registry = CollectorRegistry()
    metrics = SpanMetrics(registry)
    assert b"coordsvc_spans_dropped_total 0.0" in generate_latest(registry)
    metrics.dropped(7)
    metrics.dropped(5)
    assert b"coordsvc_spans_dropped_total 12.0" in generate_latest(registry)
