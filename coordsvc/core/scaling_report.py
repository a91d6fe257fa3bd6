"""What replicas tell of themselves for autoscaling: sums since they began, never rates.

Whoever hears two reports of one replica takes their difference, so a report that is lost, late or
told twice costs nothing; and a mean over any window is exact, however seldom it is told.
"""

from collections import Counter
from collections.abc import Mapping

from coordsvc.core.accounting import Part, TurnAccount
from coordsvc.core.resources import Resources
from coordsvc.core.shares import as_fraction, dominant_share
from coordsvc.core.units import Instant, since

Report = Mapping[str, float]
"""By name; each but `REPORTS` is a sum since the replica began."""

REPORTS = "reports"
"""How often the replica has told; it rises by one each time, so a repeated report is known."""
TURNS = "turns"
C_COORD = "c_coord_us"
ALIVE = "alive_us"
BUSY = "busy_us"
"""Microseconds for which the whole engine was taken, or twice as many for half of it."""
PHASES = "phases_us"
"""Phases under way, times microseconds."""
MILLIONTHS = 1_000_000


def part_key(part: Part) -> str:
    """Return under which name a part of C_coord is told."""
    return f"part_{part}_us"


class TurnSums:
    """Adds up answered turns, at an ingress replica."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter({REPORTS: 0, TURNS: 0, C_COORD: 0})

    def turn(self, account: TurnAccount) -> None:
        """Count one answered turn."""
        self._sums[TURNS] += 1
        self._sums[C_COORD] += account.c_coord_us
        for part, spent in account.parts.items():
            self._sums[part_key(part)] += spent

    def report(self) -> dict[str, float]:
        """Return all sums, told once more."""
        self._sums[REPORTS] += 1
        return dict(self._sums)


class EngineSums:
    """Adds up how much of an engine is taken by phases, and by how many."""

    def __init__(self, now: Instant, capacity: Resources) -> None:
        self._capacity = capacity
        self._began = self._as_of = now
        self._reports = self._taken = self._phases = 0
        self._busy = self._phase_time = 0

    def began(self, now: Instant, bundle: Resources) -> None:
        """Take note that a phase holds a bundle from now on."""
        self._changed(now, bundle, 1)

    def ended(self, now: Instant, bundle: Resources) -> None:
        """Take note that it holds it no more."""
        self._changed(now, bundle, -1)

    def report(self, now: Instant) -> dict[str, float]:
        """Return all sums, told once more."""
        self._advance(now)
        self._reports += 1
        return {
            REPORTS: self._reports,
            ALIVE: since(self._began, self._as_of),
            BUSY: self._busy // MILLIONTHS,
            PHASES: self._phase_time,
        }

    def _changed(self, now: Instant, bundle: Resources, change: int) -> None:
        self._advance(now)
        share = as_fraction(dominant_share(bundle, self._capacity))
        self._taken += change * round(share * MILLIONTHS)
        self._phases += change
        assert self._phases >= 0, "what ends has begun"

    def _advance(self, now: Instant) -> None:
        """Add up what was until now; a clock that steps back is taken to stand still."""
        passed = since(self._as_of, now)
        self._busy += self._taken * passed
        self._phase_time += self._phases * passed
        self._as_of = max(self._as_of, now)
