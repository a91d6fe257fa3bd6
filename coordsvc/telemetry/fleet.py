"""Metrics of the fleet: the five states of every share, and what they came to lately."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge

from coordsvc.core.fleet import NAMES, WHOLE, Measures, States, measures
from coordsvc.core.units import SECOND, Instant, Micros, since
from coordsvc.telemetry.labels import Maybe

WINDOW_US = Micros(60 * SECOND)
"""What "lately" is: long enough for a steady mean of turns of some seconds, short enough to act
on; as long as Prometheus's customary shortest range."""
COVERED_MIN = 0.9
"""Of a window must be known to the allocator's account; turns without states would lie."""
MEASURES = {
    "c_coord_us": (
        "coordsvc_c_coord_fleet_seconds",
        "C_coord_fleet: time that shares were kept from a turn, over the last minute, in seconds.",
    ),
    "c_algo_us": (
        "coordsvc_c_algo_seconds",
        "C_algo: accelerator time of one turn over the last minute, in seconds.",
    ),
    "c_baseline_us": (
        "coordsvc_c_baseline_seconds",
        "C_baseline: what a turn of the last minute takes one process at batch 1, in seconds.",
    ),
}
RATIOS = {
    "s_scale": (
        "coordsvc_s_scale",
        "S_scale: accelerators at work, or kept from it by coordination, over the last minute.",
    ),
    "s_measured": (
        "coordsvc_s_measured",
        "S_measured: C_baseline over the time a turn took the fleet, over the last minute.",
    ),
    "s_ideal": (
        "coordsvc_s_measured_ideal",
        "What S_measured would be if all accelerators computed all the time, over the last minute.",
    ),
}


@dataclass(frozen=True, slots=True)
class _Mark:
    """What there was until an instant."""

    at: Instant
    states: States
    turns: int
    baseline_us: int


@dataclass(slots=True)
class Lately:
    """The fleet's states and the turns of the last minute."""

    turns: int = 0
    baseline_us: int = 0
    """Of all turns so far."""
    _marks: deque[_Mark] = field(default_factory=deque)

    def turn(self, baseline_us: int) -> None:
        """Count a turn that has ended."""
        self.turns += 1
        self.baseline_us += baseline_us

    def told(self, now: Instant, states: States) -> None:
        """Take the states until now; an account that begins anew makes a new beginning here."""
        marks = self._marks
        if marks and (states.total < marks[-1].states.total or now < marks[-1].at):
            marks.clear()
        marks.append(_Mark(now, states, self.turns, self.baseline_us))
        while len(marks) > 2 and since(marks[1].at, now) >= WINDOW_US:  # noqa: PLR2004 - two make a window
            marks.popleft()

    def measures(self, accelerators: int) -> Measures | None:
        """Return what the window came to; None where too much of it is unknown."""
        if len(self._marks) < 2:  # noqa: PLR2004 - two make a window
            return None
        first, last = self._marks[0], self._marks[-1]
        lasts = since(first.at, last.at)
        states = last.states.minus(first.states)
        if not lasts or states.total < COVERED_MIN * lasts * accelerators:
            return None
        return measures(
            states,
            lasts_us=lasts,
            turns=last.turns - first.turns,
            baseline_us=last.baseline_us - first.baseline_us,
        )


class FleetMetrics:
    """Shows the fleet's view; what has no value is absent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shares = Counter(
            "coordsvc_share_seconds",
            "Accelerator time by what it was: computing, held, blocked, stranded or idle, in "
            "seconds.",
            ["state"],
            registry=registry,
        )
        for name in NAMES:
            self._shares.labels(name)
        self._remainder = Counter(
            "coordsvc_fleet_remainder_seconds",
            "What the allocator's account of the fleet and the engines' own differed by at most, "
            "in seconds; some hundredths for each accelerator are no fault.",
            registry=registry,
        )
        self._accelerators = Gauge(
            "coordsvc_accelerators", "Accelerators in the pool.", registry=registry
        )
        self._calibrated = Gauge(
            "coordsvc_baseline_calibrated",
            "1 where C_baseline rests on `coordsvc calibrate`, 0 where it is the engines' own "
            "prediction.",
            registry=registry,
        )
        self._times = {
            name: Maybe(registry, metric, says) for name, (metric, says) in MEASURES.items()
        }
        self._ratios = {
            name: Maybe(registry, metric, says) for name, (metric, says) in RATIOS.items()
        }
        self.lately = Lately()
        self._epoch = 0
        self._told = States()
        self._differed = 0

    def calibrated(self, *, yes: bool) -> None:
        """Show what C_baseline rests on."""
        self._calibrated.set(yes)

    def show(
        self,
        now: Instant,
        epoch: int,
        told: Mapping[str, int],
        remainder: int,
        accelerators: int,
    ) -> Measures | None:
        """Show the account of one allocator's life until now; return what came of the window."""
        states = States(**told)
        if epoch != self._epoch:
            self._epoch, self._told, self._differed = epoch, States(), 0
        for name, more in states.minus(self._told).as_dict().items():
            self._shares.labels(name).inc(max(0, more) / WHOLE / SECOND)
        self._told = states
        self._remainder.inc(max(0, remainder - self._differed) / WHOLE / SECOND)
        self._differed = max(remainder, self._differed)
        self._accelerators.set(accelerators / WHOLE)
        self.lately.told(now, states)
        found = self.lately.measures(accelerators)
        for name, gauge in self._times.items():
            value = getattr(found, name) if found else None
            gauge.set(None if value is None else value / SECOND)
        for name, gauge in self._ratios.items():
            gauge.set(getattr(found, name) if found and found.c_algo_us is not None else None)
        return found
