"""Intervals of few runs: bootstrap over seeds, widened where they are few; verdicts. Pure.

The bootstrap draws runs with replacement (Efron 1979) from a generator of its own seed, so that the
same rows give the same interval. Its percentiles are too narrow for few runs: the drawn means vary
by (n - 1)/n of what they should, and the tails are those of a known variance. So both ends are
moved away from the value by sqrt(n/(n - 1)) * t/z, which for a mean is Student's interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from coordsvc.core.errors import BadRequest
from coordsvc.experiments.study import Verdict

DRAWS = 4_000
CONFIDENCE = 0.95
SEED = 2_024
NORMAL_975 = 1.960
STUDENT_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t of 97.5 %, by degrees of freedom from 1; beyond the table the last one is used."""
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
    return interval(float(over.mean() / under.mean()), drawn, over.size)


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
    return interval(float(estimate(there[None, :])[0]), drawn, there.size)


def interval(value: float, drawn: np.ndarray, runs: int) -> Interval:
    """Return the interval of an estimate that was drawn anew from so many runs."""
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(end) for end in np.quantile(drawn, [tail, 1 - tail]))
    wider = _wider(runs)
    return Interval(value, value - (value - low) * wider, value + (high - value) * wider, runs)


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


def _wider(runs: int) -> float:
    """Return by how much percentiles of so few runs are too narrow."""
    if runs < DECIDING:
        return 1.0
    freedom = min(runs - 1, len(STUDENT_975))
    return sqrt(runs / (runs - 1)) * STUDENT_975[freedom - 1] / NORMAL_975
