"""An engine's own account of how long it computed, told in its regular word.

It keeps a running sum, and the latest of it in bins, so that whoever hears it can tell when it was.
Instants are of the engine's clock and stay there; a bin's age, counted back from the word, travels.
"""

from collections import deque
from dataclasses import dataclass, field

from coordsvc.core.units import MILLISECOND, Instant, Micros, after, since

BIN_US = Micros(50 * MILLISECOND)
"""Finer than a phase lasts on an engine worth accounting for; twenty numbers a second."""
BINS_MAX = 60
"""Three seconds: a word that is late by two loses nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What an engine has computed, in shares (`core.fleet`) times microseconds."""

    alive_us: Micros
    """Since it began to count."""
    capacity: int
    """Its shares, all of them."""
    total: int
    """Since it began to count."""
    bins: tuple[int, ...]
    """The latest bins of `BIN_US`, the last one ending `rest_us` before the word."""
    rest_us: Micros

    def share_at(self, age_us: int) -> int | None:
        """Return the mean share that computed in the bin of `age_us` before the word, if known."""
        if not self.bins:
            return None
        back = max(0, age_us - self.rest_us) // BIN_US
        return self.bins[-1 - back] // BIN_US if back < len(self.bins) else None


@dataclass(slots=True)
class Computing:
    """Counts on the engine's clock."""

    began: Instant
    capacity: int
    _running: int = 0
    _total: int = 0
    _as_of: Instant = Instant(0)
    _bin: int = 0
    _bin_ends: Instant = Instant(0)
    _bins: deque[int] = field(default_factory=lambda: deque(maxlen=BINS_MAX))

    def __post_init__(self) -> None:
        self._as_of, self._bin_ends = self.began, after(self.began, BIN_US)

    def changed(self, now: Instant, change: int) -> None:
        """Count from now on with so many shares more, or fewer."""
        self._advance(now)
        self._running += change
        assert self._running >= 0, "what ends has begun"

    def word(self, now: Instant) -> Computed:
        """Return the account until now."""
        self._advance(now)
        return Computed(
            alive_us=since(self.began, now),
            capacity=self.capacity,
            total=self._total,
            bins=tuple(self._bins),
            rest_us=Micros(BIN_US - (self._bin_ends - now)),
        )

    def _advance(self, now: Instant) -> None:
        """Add up what was until now; a clock that steps back is taken to stand still."""
        if now <= self._as_of:
            return
        self._total += self._running * (now - self._as_of)
        skipped = (now - self._bin_ends) // BIN_US - BINS_MAX
        if skipped > 0:  # nothing changed for longer than is kept
            self._bin_ends = after(self._bin_ends, Micros(skipped * BIN_US))
            self._as_of, self._bin = Instant(self._bin_ends - BIN_US), 0
        while self._bin_ends <= now:
            self._bins.append(self._bin + self._running * (self._bin_ends - self._as_of))
            self._as_of, self._bin = self._bin_ends, 0
            self._bin_ends = after(self._bin_ends, BIN_US)
        self._bin += self._running * (now - self._as_of)
        self._as_of = now
