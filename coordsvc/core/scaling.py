"""The Universal Scalability Law, fitted online to what the service was seen to do.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

turns a second with N turns under way (Gunther, arXiv:0808.1431): sigma is contention, what turns
wait for one at a time; kappa is coherency, what each costs every other one. With kappa there is a
best number, N* = sqrt((1 - sigma) / kappa): one more turn beside that many makes all of them slower
than it adds. By Little's law a turn takes

    N / X = 1/lambda + (sigma/lambda) (N - 1) + (kappa/lambda) N (N - 1)

which is linear in what is unknown, and none of it may be below 0. So the fit is exact, without
iterations: least squares with non-negative coefficients, of all seven sets that may be above 0.

Loads are kept in bins that forget each for itself: a service that has been at one load all day
still knows what it saw at the others, and old sights count less than new ones of the same load.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from math import floor, isfinite, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from coordsvc.core.units import SECOND
from coordsvc.core.window import Window

FEW = "not enough loads yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class LawTerms:
    """How the law is fitted."""

    bins_per_doubling: int = 4
    """A bin is 19 % wide: narrower than the noise of a window, so that little is blurred."""
    bins_max: int = 64
    """From 1 to 65 536 turns under way; what is above goes into the last."""
    forget: float = 0.98
    """What a bin's past counts when it is seen again: about fifty windows of each load."""
    fade: float = 0.9995
    """What every bin counts one window later: a load not seen for two thousand windows is a guess
    about a service that may have changed."""
    weight_min: float = 0.3
    """A bin that counts less than a third of one fresh window is left out."""
    bins_min: int = 4
    """One more than the law has unknowns: with fewer, any curve fits."""
    span_min: float = 2.0
    """Largest load over smallest: noise alone does not double it in most windows."""
    beyond: float = 4.0
    """A best number so many times the largest load seen is not told: nobody saw the bend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What was fitted."""

    rate: float
    """lambda: turns a second of one turn alone, never above infinity and never 0."""
    sigma: float
    kappa: float
    best: float | None
    """N*; None where throughput has no peak, or one far beyond what was seen."""
    loads: int
    """Bins that it was fitted to."""
    lowest: float
    highest: float
    """Turns under way, in these bins."""
    error: float
    """Root mean square of the relative errors of a turn's time, by bins."""

    def throughput(self, concurrency: float) -> float:
        """Return turns a second with so many under way."""
        n = max(1.0, concurrency)
        return self.rate * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    def gain(self, concurrency: float) -> float:
        """Return what one per cent more turns under way adds to the throughput, in per cent.

        1 while they do not touch each other, 0 at N*, below 0 beyond. Above 0 is the same as
        dC_coord/dN < C_algo/N**2 for a fixed amount of work.
        """
        n = max(1.0, concurrency)
        below = 1 + self.sigma * (n - 1) + self.kappa * n * (n - 1)
        return (1 - self.sigma - self.kappa * n * n) / below

    def c_coord_us(self, concurrency: float) -> float:
        """Return the part of a turn's time that it owes to the others under way."""
        n = max(1.0, concurrency)
        return (self.sigma * (n - 1) + self.kappa * n * (n - 1)) * SECOND / self.rate

    def c_coord_fixed_us(self, concurrency: float, c_algo_us: float) -> float:
        """Return C_coord of an amount of work that is shared out among N, C_algo fixed.

        C_coord(N) = C_algo (sigma (1 - 1/N) + kappa (N - 1)).
        """
        n = max(1.0, concurrency)
        return c_algo_us * (self.sigma * (1 - 1 / n) + self.kappa * (n - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The law, or why there is none."""

    law: Law | None
    says: str


@dataclass(slots=True)
class _Bin:
    """Decayed sums of windows of about one load."""

    weight: float = 0.0
    seconds: float = 0.0
    turns: float = 0.0
    under_way: float = 0.0
    """Turn-seconds."""

    def scale(self, by: float) -> None:
        self.weight *= by
        self.seconds *= by
        self.turns *= by
        self.under_way *= by


@dataclass(slots=True)
class Scaling:
    """Keeps what was seen of each load, and fits the law to it."""

    terms: LawTerms = LawTerms()
    _bins: dict[int, _Bin] = field(default_factory=dict)

    def window(self, window: Window) -> None:
        """Take note of a window; one without a turn under way, or with a flaw, says nothing."""
        terms = self.terms
        for one in self._bins.values():
            one.scale(terms.fade)
        if window.flaw() is not None or not window.turns:
            return
        if window.concurrency * window.lasts_us < window.turns:
            return  # a turn takes a microsecond at least
        place = floor(terms.bins_per_doubling * log2(max(1.0, window.concurrency)))
        seen = self._bins.setdefault(min(place, terms.bins_max - 1), _Bin())
        seen.scale(terms.forget)
        seen.weight += 1
        seen.seconds += window.lasts_us / SECOND
        seen.turns += window.turns
        seen.under_way += window.concurrency * window.lasts_us / SECOND

    def loads(self) -> Iterator[tuple[float, float, float]]:
        """Yield turns under way, turns a second and weight, of each load that still counts."""
        for place in sorted(self._bins):
            seen = self._bins[place]
            if seen.weight >= self.terms.weight_min:
                yield seen.under_way / seen.seconds, seen.turns / seen.seconds, seen.weight

    def fit(self) -> Fit:
        """Return the law that fits best what was seen; no value without enough different loads."""
        terms, seen = self.terms, list(self.loads())
        if len(seen) < terms.bins_min:
            return Fit(law=None, says=f"{FEW}: {len(seen)} of {terms.bins_min}")
        lowest, highest = seen[0][0], seen[-1][0]
        if highest < terms.span_min * lowest:
            return Fit(law=None, says=f"{FEW}: all between {lowest:.1f} and {highest:.1f}")
        return _fitted(seen, terms)


def _fitted(seen: list[tuple[float, float, float]], terms: LawTerms) -> Fit:
    loads, rates, weights = (np.array(column) for column in zip(*seen, strict=True))
    takes = loads / rates
    above = np.maximum(loads - 1, 0.0)
    columns = np.stack([np.ones_like(loads), above, np.maximum(loads, 1.0) * above], axis=1)
    scale = np.sqrt(weights) / takes  # relative errors: a turn of 10 s may be off by 10 times 1 s's
    found = non_negative(columns * scale[:, None], takes * scale)
    alone, linear, square = (float(one) for one in found)
    if alone <= 0 or not isfinite(alone):
        return Fit(law=None, says="what was seen does not tell how long one turn alone takes")
    sigma, kappa = linear / alone, square / alone
    errors = (columns @ found - takes) / takes
    highest = float(loads[-1])
    law = Law(
        rate=1 / alone,
        sigma=sigma,
        kappa=kappa,
        best=best_number(sigma, kappa, highest * terms.beyond),
        loads=len(seen),
        lowest=float(loads[0]),
        highest=highest,
        error=float(sqrt(np.average(errors**2, weights=weights))),
    )
    return Fit(law=law, says=_says(law))


def _says(law: Law) -> str:
    best = "no best number in reach" if law.best is None else f"best with {law.best:.0f} under way"
    return (
        f"sigma {law.sigma:.3f}, kappa {law.kappa:.5f}, {best}; "
        f"from {law.loads} loads, {law.error:.0%} off"
    )


def best_number(sigma: float, kappa: float, most: float) -> float | None:
    """Return N*, 1 where each further one only harms; None where it is above `most`, or nowhere."""
    if sigma >= 1:
        return 1.0
    if kappa <= 0:
        return None
    best = max(1.0, sqrt((1 - sigma) / kappa))
    return best if best <= most else None


def non_negative(columns: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients >= 0 that make `columns` times them closest to `wanted`.

    All sets of coefficients that may be above 0 are tried: there are 2**n - 1, and n is small.
    """
    count = columns.shape[1]
    found = np.zeros(count)
    least = float(wanted @ wanted)
    for size in range(1, count + 1):
        for free in combinations(range(count), size):
            some = columns[:, free]
            solved, *_ = np.linalg.lstsq(some, wanted, rcond=None)
            if (solved < 0).any():
                continue
            off = some @ solved - wanted
            if (distance := float(off @ off)) < least:
                least = distance
                found = np.zeros(count)
                found[list(free)] = solved
    return found
