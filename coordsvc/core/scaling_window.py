"""What a pool of one size did of late, put together from its replicas' reports.

Reports are sums (`core.scaling_report`); the window holds their differences, each with the time at
which it was heard. No instant of another machine's clock is used. The window begins anew whenever
the pool's size changes: a mean over two sizes tells of neither. (The first difference after that
reaches back by up to one report.)
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

from coordsvc.core.accounting import CAPACITY_PARTS, PARTS
from coordsvc.core.scaling_report import (
    ALIVE,
    BUSY,
    C_COORD,
    PHASES,
    REPORTS,
    TURNS,
    Report,
    part_key,
)
from coordsvc.core.units import Instant, Micros, since

UNITS_MAX = 1e15
"""A report with more than thirty years in it is none."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The latest report of one replica."""

    report: Report
    at: Instant
    """When it was new."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What reports that were new at one instant had more than those before."""

    at: Instant
    more: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Window:
    """The differences heard since it began, or in the last `lasts`, whichever is less."""

    began: Instant
    samples: tuple[Sample, ...] = ()
    heard: Mapping[str, Heard] = field(default_factory=dict)

    def anew(self, now: Instant) -> "Window":
        """Return an empty window; what replicas said last is still known."""
        return replace(self, began=now, samples=())

    def told(self, now: Instant, reports: Mapping[str, Report], lasts: Micros) -> "Window":
        """Take the replicas' latest reports, new ones or not; forget what is too old."""
        more: defaultdict[str, float] = defaultdict(float)
        heard: dict[str, Heard] = {}
        for replica, report in reports.items():
            before = self.heard.get(replica)
            if not _makes_sense(report) or (
                before is not None and report[REPORTS] <= before.report[REPORTS]
            ):
                if before is not None:
                    heard[replica] = before
                continue
            heard[replica] = Heard(report, now)
            if before is not None:
                for name, value in report.items():
                    more[name] += value - before.report.get(name, 0)
        kept = tuple(one for one in self.samples if since(one.at, now) < lasts)
        return Window(self.began, (*kept, Sample(now, more)) if more else kept, heard)

    def fresh(self, now: Instant, stale: Micros) -> set[str]:
        """Return the replicas whose last new report is not stale."""
        return {replica for replica, one in self.heard.items() if since(one.at, now) < stale}

    def seen(self, now: Instant, lasts: Micros) -> "Seen":
        """Return the means over the window."""
        sums: defaultdict[str, float] = defaultdict(float)
        for sample in self.samples:
            for name, value in sample.more.items():
                sums[name] += value
        return Seen(sums=sums, covers_us=Micros(min(lasts, since(self.began, now))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Means over a window. None where nothing happened to take a mean of; never a NaN."""

    sums: Mapping[str, float]
    covers_us: Micros

    @property
    def c_coord_us(self) -> float | None:
        """C_coord of a turn."""
        turns = self._sum(TURNS)
        return self._sum(C_COORD) / turns if turns > 0 else None

    @property
    def phases_ran(self) -> bool:
        """Whether engines had anything to do."""
        return self._sum(PHASES) > 0

    @property
    def capacity_us(self) -> float:
        """Of C_coord of a turn: what more engines cure."""
        spent = sum(max(0.0, self._sum(part_key(part))) for part in CAPACITY_PARTS)
        turns = self._sum(TURNS)
        return spent / turns if turns > 0 else 0.0

    @property
    def largest(self) -> tuple[str, float]:
        """The largest part that more engines do not cure, and its share of C_coord."""
        others = [part for part in PARTS if part not in CAPACITY_PARTS]
        part = max(others, key=lambda one: self._sum(part_key(one)))
        whole = self._sum(C_COORD)
        return part, self._sum(part_key(part)) / whole if whole > 0 else 0.0

    @property
    def utilisation(self) -> float | None:
        """How much of an engine was taken, on average."""
        alive = self._sum(ALIVE)
        return self._sum(BUSY) / alive if alive > 0 else None

    def demand(self, engines: int) -> float | None:
        """Return how many engines' worth of phases there were, those that waited for one included.

        Little's law: seconds waited in a second are how many waited.
        """
        utilisation = self.utilisation
        if utilisation is None:
            return None
        taken = utilisation * engines
        if self._sum(PHASES) <= 0 or self.covers_us <= 0:
            return taken
        each = self._sum(BUSY) / self._sum(PHASES)
        return taken + each * max(0.0, self._sum(part_key("offer_wait"))) / self.covers_us

    def _sum(self, name: str) -> float:
        return self.sums.get(name, 0.0)


def _makes_sense(report: Report) -> bool:
    """Tell whether it has numbers only, and says how often it was told."""
    return REPORTS in report and all(
        isfinite(value) and abs(value) < UNITS_MAX for value in report.values()
    )
