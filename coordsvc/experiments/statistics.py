"""Intervals from few runs: percentile bootstrap over seeds, and verdicts by interval. Pure.

The bootstrap draws runs with replacement (Efron 1979) from a generator of its own seed, so that the
same rows give the same interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from coordsvc.core.errors import BadRequest
from coordsvc.experiments.study import Verdict

DRAWS = 4_000
CONFIDENCE = 0.95
SEED = 2_024
DECIDING = 2
"""Runs without which no interval says anything."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where it lies with 95 % confidence; both ends are it where one run is all."""

    value: float
    low: float
    high: float
    runs: int
    """That it is drawn from; of one, nothing can be decided."""

    def shown(self, digits: int = 3) -> str:
        """Return it for a table."""
        value, low, high = (short(one, digits) for one in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def mean(values: Sequence[float]) -> Interval:
    """Return the mean of runs."""
    return of(values, lambda drawn: drawn.mean(axis=1))


def ratio(above: Sequence[float], below: Sequence[float]) -> Interval:
    """Return the ratio of two means over the same runs, drawn in pairs.

    Raises `BadRequest` if they are not of the same runs, or what is below is not above 0.
    """
    over, under = np.asarray(above, float), np.asarray(below, float)
    if over.shape != under.shape or not over.size:
        raise BadRequest(f"a ratio of {over.size} runs to {under.size}: the same runs are right")
    if not (np.isfinite(over).all() and np.isfinite(under).all()):
        raise BadRequest("a ratio of runs that are no numbers means nothing")
    if under.min() <= 0:
        raise BadRequest("a ratio to something that is not above 0 means nothing")
    picks = _picks(over.size)
    drawn = over[picks].mean(axis=1) / under[picks].mean(axis=1)
    return _interval(float(over.mean() / under.mean()), drawn, over.size)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the mean difference of the same runs, in pairs."""
    if len(ours) != len(theirs):
        raise BadRequest(f"differences of {len(ours)} runs and {len(theirs)}: pairs are right")
    return mean([one - other for one, other in zip(ours, theirs, strict=True)])


def of(values: Sequence[float], estimate: Callable[[np.ndarray], np.ndarray]) -> Interval:
    """Return an estimate of runs; `estimate` takes rows of drawn runs, and gives one for each."""
    there = np.asarray(values, float)
    if not there.size:
        raise BadRequest("an interval needs at least one run")
    if not np.isfinite(there).all():
        raise BadRequest("an interval of runs that are no numbers means nothing")
    drawn = estimate(there[_picks(there.size)])
    return _interval(float(estimate(there[None, :])[0]), drawn, there.size)


def below(interval: Interval, limit: float) -> Verdict:
    """Return whether "it is below the limit" is confirmed, falsified or undecided."""
    if interval.runs < DECIDING:
        return Verdict.UNDECIDED
    if interval.high < limit:
        return Verdict.CONFIRMED
    return Verdict.FALSIFIED if interval.low >= limit else Verdict.UNDECIDED


def at_least(interval: Interval, limit: float) -> bool | None:
    """Return whether it is at least the limit; None where the interval holds both answers."""
    if interval.runs < DECIDING:
        return None
    if interval.low >= limit:
        return True
    return False if interval.high < limit else None


def short(number: float, digits: int = 3) -> str:
    """Return a number as people read it: so many digits, or all that stand before its point."""
    told = f"{number:.{digits}g}"
    return f"{number:.0f}" if "e+" in told else told


def _picks(runs: int) -> np.ndarray:
    return np.random.default_rng(SEED).integers(0, runs, size=(DRAWS, runs))


def _interval(value: float, drawn: np.ndarray, runs: int) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high), runs)
