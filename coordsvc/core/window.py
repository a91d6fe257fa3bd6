"""What a short time of the service came to: what the law and the early warning look at.

Windows follow each other; each is told once it is over. Whoever watches keeps as many as it
needs, so that memory is bounded by the settings and not by the time it runs.
"""

from dataclasses import dataclass
from math import isfinite

from coordsvc.core.units import Instant, Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One of them. None where no turn ended in it."""

    began: Instant
    """On any clock of the caller's own, the same for all windows."""
    lasts_us: Micros
    turns: int
    """That ended in it."""
    concurrency: float
    """Turns under way, on average over its time."""
    c_coord_us: float | None = None
    """Of one of the turns that ended, on average."""
    capacity_us: float | None = None
    """What of that more engines would cure: offer_wait, engine_queue and contention."""
    c_algo_us: float | None = None
    """The fleet's, of one turn."""
    c_baseline_us: float | None = None
    """Of one turn."""
    s_scale: float | None = None
    accelerators: float | None = None
    """That there were, on average, in the units of `s_scale`."""
    p95_us: float | None = None
    """Latency of the turns that ended."""
    turns_slow: int = 0
    """Of the turns, those whose own C_coord was above the bound."""
    offers_made: int = 0
    offers_accepted: int = 0
    """Work began under them."""
    offers_unused: int = 0
    """Declined, expired or taken back."""
    retries: int = 0
    """Of the accepted, those whose work was lost and began anew."""

    @property
    def throughput(self) -> float:
        """Turns a second."""
        return self.turns * 1_000_000 / self.lasts_us if self.lasts_us > 0 else 0.0

    @property
    def load(self) -> float | None:
        """Part of the accelerators that worked, or that work waited for; None if not known."""
        if not self.accelerators or self.s_scale is None:
            return None
        return self.s_scale / self.accelerators

    @property
    def tasks(self) -> int:
        """Phases that were brought to their end, or are still under way: each needs one offer."""
        return max(0, self.offers_accepted - self.retries)

    @property
    def s_measured(self) -> float | None:
        """C_baseline over the time that a turn takes the fleet; None without a turn."""
        if not self.turns or self.c_baseline_us is None or self.lasts_us <= 0:
            return None
        return self.c_baseline_us * self.turns / self.lasts_us

    def flaw(self) -> str | None:
        """Return what is wrong with it in words, or None: a reader skips what has a flaw."""
        if self.lasts_us <= 0:
            return f"the window lasts {self.lasts_us} us"
        counts = (
            self.turns,
            self.turns_slow,
            self.offers_made,
            self.offers_accepted,
            self.offers_unused,
            self.retries,
        )
        if min(counts) < 0:
            return "a count is below 0"
        means = (
            self.concurrency,
            self.c_coord_us,
            self.capacity_us,
            self.c_algo_us,
            self.c_baseline_us,
            self.s_scale,
            self.accelerators,
            self.p95_us,
        )
        if any(mean is not None and not (isfinite(mean) and mean >= 0) for mean in means):
            return "a mean is below 0, or no number"
        return None
