"""Whether a series of measurements has changed: trend, shift, spent budget, restlessness.

Each is a plain function or a sum of fixed size; what they are asked for is named by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The straight line that is closest to a series, by least squares."""

    level: float
    """Of the line, at the last value."""
    slope: float
    """From one value to the next."""
    mean: float


def line(values: Sequence[float]) -> Line | None:
    """Return the line through at least three values.

    Not the median of slopes (Theil and Sen's), which no wild value bends: what C_coord comes to is
    a mean, and most of it comes in spikes, which a median does not see. Wild values are for the
    caller to cut.
    """
    count = len(values)
    if count < 3:  # noqa: PLR2004 - two points always lie on a line
        return None
    series = np.asarray(values, dtype=np.float64)
    at = np.arange(count) - (count - 1) / 2
    mean, slope = float(series.mean()), float(at @ series / (at @ at))
    return Line(level=mean + slope * (count - 1) / 2, slope=slope, mean=mean)


@dataclass(slots=True)
class Cusum:
    """Page's sum of what lies above what is expected (Biometrika 41, 1954).

    g = max(0, g + x - slack), with x in standard deviations, and cut at `most` on both sides.
    """

    slack: float
    """Half of the shift that is to be found: then it is found the soonest."""
    limit: float
    most: float
    """More than this counts as this: no single value raises the alarm, or ends it."""
    sum: float = 0.0

    def add(self, value: float) -> bool:
        """Take the next value; tell whether the sum is above the limit."""
        self.sum = max(0.0, self.sum + max(-self.most, min(value, self.most)) - self.slack)
        self.sum = min(self.sum, 2 * self.limit)  # else it takes hours to come down again
        return self.sum > self.limit


def share(parts: Sequence[int], wholes: Sequence[int], last: int) -> float | None:
    """Return the part that the last so many came to, of the whole; None of nothing."""
    whole = sum(wholes[-last:])
    return sum(parts[-last:]) / whole if whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restless:
    """How a series moves about its own mean."""

    variance: float
    memory: float
    """Lag-1 autocorrelation: near 1, the system comes back ever more slowly from each push."""


def restless(values: Sequence[float]) -> Restless | None:
    """Return variance and lag-1 autocorrelation of at least four values that are not all equal.

    Both rise before a tipping point (Scheffer et al., Nature 461, 2009).
    """
    series = np.asarray(values, dtype=np.float64)
    if len(series) < 4:  # noqa: PLR2004 - three differences tell nothing
        return None
    off = series - series.mean()
    whole = float(off @ off)
    if whole <= 0:
        return None
    return Restless(variance=whole / len(series), memory=float(off[1:] @ off[:-1]) / whole)
