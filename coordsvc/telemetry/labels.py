"""Kinds of gauges, and bounds: a flood of names must not become a flood of series."""

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

VALUES_MAX = 1_000
"""Of one label of one metric. More agents or tenants than anybody plots; a gigabyte of Prometheus
is some hundred thousand series."""
OTHER = "other"
"""What every value beyond them is called."""
CHARS_MAX = 200
"""Of one value; settings allow no more either."""


class Bounded:
    """The values that a label may say: the first `most` of them, and `other`."""

    def __init__(self, most: int = VALUES_MAX) -> None:
        self._known: set[str] = set()
        self._most = most

    def of(self, value: str) -> str:
        """Return the value, or `other`."""
        value = value[:CHARS_MAX]
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


class Told:
    """A gauge that shows what was last told: labels that are told of no more are shown as 0."""

    def __init__(
        self, registry: CollectorRegistry, name: str, says: str, labels: Sequence[str]
    ) -> None:
        self._gauge = Gauge(name, says, labels, registry=registry)
        self._bounded = [Bounded() for _ in labels]
        self._shown: set[tuple[str, ...]] = set()

    def show(self, told: Iterable[tuple[tuple[str, ...], float]]) -> None:
        """Show these amounts by their labels; those that share `other` are added up."""
        amounts = dict.fromkeys(self._shown, 0.0)
        for labels, amount in told:
            named = tuple(
                bound.of(label) for bound, label in zip(self._bounded, labels, strict=True)
            )
            amounts[named] = amounts.get(named, 0.0) + amount
        self._shown = set(amounts)
        for labels, amount in amounts.items():
            self._gauge.labels(*labels).set(amount)


class Maybe(Collector):
    """A gauge without labels that is absent while it has no value: no value is not 0, nor NaN."""

    def __init__(self, registry: CollectorRegistry, name: str, says: str) -> None:
        self._name = name
        self._says = says
        self._value: float | None = None
        registry.register(self)

    def set(self, value: float | None) -> None:
        """Show a value, or none; what is not finite is none."""
        self._value = value if value is not None and isfinite(value) else None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the family, with its sample if there is one."""
        yield GaugeMetricFamily(self._name, self._says, self._value)
