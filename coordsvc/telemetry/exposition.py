"""Reads what `/metrics` says, and what came between two readings: rates, shares, quantiles.

What Prometheus would compute, for those who look without one. A value that is absent or not finite
is None, never 0 and never NaN; a counter that has begun anew counts from none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from coordsvc.core.errors import CoordinationError

Labels = tuple[tuple[str, str], ...]
"""In the order of their names."""
Series = tuple[str, Labels]


class NoExposition(CoordinationError):
    """What was read is not Prometheus's text format: something else answers at that address."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All samples of one moment."""

    at_s: float
    """On the reader's clock, which may start anywhere but does not step back."""
    samples: Mapping[Series, float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, at_s: float) -> Self:
        """Return what `text` says; raise `NoExposition` if it says nothing."""
        samples: dict[Series, float] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        except (ValueError, IndexError, KeyError) as error:  # all that its parser raises
            raise NoExposition(f"this is no Prometheus exposition: {error}") from None
        if not samples:
            raise NoExposition("this is no Prometheus exposition: it has no sample")
        return cls(at_s, samples)

    def value(self, name: str) -> float | None:
        """Return a metric without labels, or all its series added up; None if there is none."""
        return self.by(name).get(())

    def by(self, name: str, *labels: str, **only: str) -> dict[tuple[str, ...], float]:
        """Return a metric added up by labels; `only` says what other labels must be."""
        amounts: dict[tuple[str, ...], float] = {}
        for key, value in _chosen(self.samples, name, labels, only):
            if isfinite(value):
                amounts[key] = amounts.get(key, 0.0) + value
        return amounts

    def names(self, name: str, label: str) -> dict[str, float]:
        """Return a metric by one label, by its plain name."""
        return {key: value for (key,), value in self.by(name, label).items()}


@dataclass(frozen=True, slots=True)
class Between:
    """What happened between two readings."""

    earlier: Reading
    later: Reading

    @property
    def lasts_s(self) -> float:
        """How long it was, in seconds; 0 for a clock that stood still."""
        return max(0.0, self.later.at_s - self.earlier.at_s)

    def grown(self, name: str, *labels: str, **only: str) -> dict[tuple[str, ...], float]:
        """Return what counters grew by, added up by labels."""
        growth = {
            series: value - before if value >= (before := self._before(series)) else value
            for series, value in self.later.samples.items()
            if series[0] == name and isfinite(value)
        }
        amounts: dict[tuple[str, ...], float] = {}
        for key, more in _chosen(growth, name, labels, only):
            amounts[key] = amounts.get(key, 0.0) + more
        return amounts

    def total(self, name: str, **only: str) -> float:
        """Return what a counter grew by, all of it."""
        return sum(self.grown(name, **only).values())

    def rates(self, name: str, label: str) -> dict[str, float]:
        """Return growth a second by one label; nothing where no time passed."""
        if not self.lasts_s:
            return {}
        return {key: more / self.lasts_s for (key,), more in self.grown(name, label).items()}

    def quantile(self, of_all: float, histogram: str, **only: str) -> float | None:
        """Return a quantile of what a histogram was given; None if it was given nothing.

        Between two edges it is taken to lie evenly, as Prometheus does; beyond the last edge it
        is that edge.
        """
        buckets = sorted(
            (_edge(edge), count)
            for (edge,), count in self.grown(f"{histogram}_bucket", "le", **only).items()
        )
        if not buckets or buckets[-1][0] != inf or buckets[-1][1] <= 0:
            return None
        rank = of_all * buckets[-1][1]
        low, below = 0.0, 0.0
        for edge, count in buckets:
            if count >= rank:
                return low if edge == inf else _within(low, edge, rank - below, count - below)
            low, below = edge, count
        return low

    def share_above(self, edge: float, histogram: str, **only: str) -> float | None:
        """Return the share of what a histogram was given that lies above one of its edges."""
        grown = self.grown(f"{histogram}_bucket", "le", **only)
        counts = {_edge(said): count for (said,), count in grown.items()}
        if edge not in counts or not counts.get(inf):
            return None
        return 1 - counts[edge] / counts[inf]

    def mean(self, histogram: str, **only: str) -> float | None:
        """Return the mean of what a histogram was given; None if it was given nothing."""
        count = self.total(f"{histogram}_count", **only)
        return self.total(f"{histogram}_sum", **only) / count if count > 0 else None

    def _before(self, series: Series) -> float:
        before = self.earlier.samples.get(series, 0.0)
        return 0.0 if isnan(before) else before


def _chosen(
    samples: Mapping[Series, float], name: str, labels: Iterable[str], only: Mapping[str, str]
) -> Iterable[tuple[tuple[str, ...], float]]:
    """Yield the series of a metric by the labels asked for; one that lacks a label has it empty."""
    for (said, pairs), value in samples.items():
        if said != name:
            continue
        have = dict(pairs)
        if all(have.get(label, "") == wanted for label, wanted in only.items()):
            yield tuple(have.get(label, "") for label in labels), value


def _edge(said: str) -> float:
    return inf if said in {"+Inf", "inf"} else float(said)


def _within(low: float, high: float, rank: float, count: float) -> float:
    return low + (high - low) * (rank / count if count > 0 else 1.0)
