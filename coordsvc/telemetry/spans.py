"""Metrics of traces: what of them was lost."""

from prometheus_client import CollectorRegistry, Counter


class SpanMetrics:
    """Counts spans that no collector got."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._dropped = Counter(
            "coordsvc_spans_dropped",
            "Spans of traced turns that were lost: no collector took them, or too many waited.",
            registry=registry,
        )

    def dropped(self, count: int) -> None:
        """Count lost spans."""
        self._dropped.inc(count)
