"""The nearest curve that rises, ever less steeply, from nothing at 0: least squares on a cone.

Such a curve on points n_1 < n_2 < ... is a sum of ramps that each rise to their kink and stay,

    f(n) = sum_k c_k * min(n, n_k)    with every c_k >= 0,

and every such sum is such a curve: c_k is how much the slope falls at n_k. The nearest one to
weighted points is therefore a non-negative least squares problem, with one exact answer. It is
solved by Lawson and Hanson's active set ("Solving Least Squares Problems", 1974, chapter 23).

`regress` does so for what grants yielded, blended with a guess, and says how sure it is.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

TOLERANCE = 1e-10
"""A pull this small beside the largest number in play is rounding, not a reason to go on."""

ROUNDING = 1e-12
"""Slopes that differ by less, beside the steepest, are one slope."""

ROUNDS_PER_KINK = 10
"""More rounds than this were never needed; the bound is there so that rounding cannot loop."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising concave curve through (0, 0): straight between points, flat after the last."""

    points: tuple[int, ...]
    """Rising, above 0."""
    values: tuple[float, ...]

    def at(self, n: float) -> float:
        """Return the curve at `n`."""
        place = bisect_left(self.points, n)
        if place == len(self.points):
            return self.values[-1] if self.values else 0.0
        left, low = (self.points[place - 1], self.values[place - 1]) if place else (0, 0.0)
        return low + (self.values[place] - low) * (n - left) / (self.points[place] - left)

    def slope(self, n: int) -> float:
        """Return how much the step from `n` to `n` + 1 adds: >= 0, and falling."""
        place = bisect_left(self.points, n + 1)
        if place == len(self.points):
            return 0.0
        left, low = (self.points[place - 1], self.values[place - 1]) if place else (0, 0.0)
        return max(0.0, (self.values[place] - low) / (self.points[place] - left))


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve, and the band about it."""

    low: Curve
    middle: Curve
    high: Curve


NOTHING = Fit(Curve((), ()), Curve((), ()), Curve((), ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How much a guess counts beside what was seen, and how wide a band is."""

    guess_count: float = 1.0
    """Grants that the guess counts for at each point; one is soon outweighed."""
    guess_doubt: float = 0.5
    """Relative standard error of the guess where nothing was seen: it may be off by a half."""
    band_errors: float = 1.645
    """Half-width of the band in standard errors; 1.645 holds the truth nine times in ten."""

    def __post_init__(self) -> None:
        assert min(self.guess_count, self.guess_doubt) > 0, "without a guess gaps have no height"
        assert self.band_errors >= 0, "a width is not below 0"


@dataclass(slots=True, kw_only=True)
class Sums:
    """What was seen at one number of bundles; decayed, so none is whole."""

    count: float = 0.0
    value: float = 0.0
    busy_s: float = 0.0
    value2: float = 0.0
    cross: float = 0.0
    busy2: float = 0.0

    def add(self, other: "Sums", times: float = 1.0) -> None:
        """Count `other` in, `times` over."""
        self.count += times * other.count
        self.value += times * other.value
        self.busy_s += times * other.busy_s
        self.value2 += times * other.value2
        self.cross += times * other.cross
        self.busy2 += times * other.busy2

    def take(self, value: float, busy_s: float) -> None:
        """Count one grant: what it was worth, and how long it held its bundle."""
        self.add(
            Sums(
                count=1.0,
                value=value,
                busy_s=busy_s,
                value2=value * value,
                cross=value * busy_s,
                busy2=busy_s * busy_s,
            )
        )

    def scale(self, factor: float) -> None:
        """Let all of it count `factor` times."""
        self.add(self, factor - 1.0)


def grid(n_max: int) -> tuple[int, ...]:
    """Return the numbers of bundles that are told apart: all up to 10, then a fifth apart."""
    points = [1]
    while points[-1] < n_max:
        points.append(min(n_max, points[-1] + max(1, points[-1] // 5)))
    return tuple(points)


def regress(
    points: Sequence[int], seen: Mapping[int, Sums], guesses: Sequence[float], trust: Trust
) -> Fit:
    """Return the curve nearest to n times the yield of a bundle while n are in use.

    `seen` is by point; `guesses` are values at all `points`, and fill in where nothing was seen.
    """
    spread = _spread(seen)
    targets, weights, errors = [], [], []
    for point, guess in zip(points, guesses, strict=True):
        sums = seen.get(point, Sums())
        weight = sums.count + trust.guess_count
        value = point * sums.value / sums.busy_s if sums.busy_s > 0 else 0.0
        target = (sums.count * value + trust.guess_count * guess) / weight
        doubt = (trust.guess_count * trust.guess_doubt / weight) ** 2
        targets.append(target)
        weights.append(weight)
        errors.append(trust.band_errors * target * sqrt(spread * sums.count / weight**2 + doubt))
    middle = nearest(points, targets, weights)
    low = [max(0.0, v - e) for v, e in zip(middle.values, errors, strict=True)]
    high = [y + e for y, e in zip(targets, errors, strict=True)]
    return Fit(Curve(middle.points, tuple(low)), middle, nearest(points, high, weights))


def nearest(points: Sequence[int], targets: Sequence[float], weights: Sequence[float]) -> Curve:
    """Return the rising concave curve with the least weighted sum of squares to `targets`.

    `points` rise and are above 0; `weights` are above 0. The answer does not depend on the
    weights' unit. Targets that already are such a curve come back as they are.
    """
    assert len(points) == len(targets) == len(weights), "a target and a weight for each point"
    assert all(a < b for a, b in zip((0, *points), points, strict=False)), "points rise from 0"
    assert all(weight > 0 for weight in weights), "weights are above 0"
    if _is_concave(points, targets):
        return Curve(tuple(points), tuple(map(float, targets)))
    n = np.asarray(points, dtype=np.float64)
    root = np.sqrt(np.asarray(weights, dtype=np.float64) / max(weights))
    ramps = np.minimum(n[:, None], n[None, :]) / n[None, :]  # each ends at 1: well conditioned
    kinks = non_negative(ramps * root[:, None], np.asarray(targets, dtype=np.float64) * root)
    return Curve(tuple(points), tuple((ramps @ kinks).tolist()))


def non_negative(matrix: Vector, target: Vector) -> Vector:
    """Return the x >= 0 that brings `matrix` @ x nearest to `target` (Lawson-Hanson)."""
    columns = matrix.shape[1]
    x = np.zeros(columns)
    free = np.zeros(columns, dtype=np.bool_)
    enough = TOLERANCE * max(1e-300, float(np.abs(matrix.T @ target).max(initial=0.0)))
    for _ in range(ROUNDS_PER_KINK * columns):
        pull = matrix.T @ (target - matrix @ x)
        pull[free] = -np.inf
        best = int(np.argmax(pull))  # the first of equals
        if pull[best] <= enough:
            break
        free[best] = True
        x = _settle(matrix, target, x, free)
    return x


def _settle(matrix: Vector, target: Vector, x: Vector, free: npt.NDArray[np.bool_]) -> Vector:
    """Go to the best x over the `free` columns; those that would fall below 0 are taken out."""
    while free.any():
        goal = np.zeros_like(x)
        goal[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        below = free & (goal <= 0)
        if not below.any():
            return goal
        steps = np.full_like(x, np.inf)
        steps[below] = x[below] / np.maximum(x[below] - goal[below], 1e-300)
        step = float(steps.min())
        x += step * (goal - x)
        free &= steps > step  # at least one leaves: the loop ends
        x[~free] = 0.0
    return np.zeros_like(x)


def _is_concave(points: Sequence[int], targets: Sequence[float]) -> bool:
    """Tell whether the targets rise, ever less steeply, from (0, 0); but for rounding.

    A straight line's slopes differ in the last bits, and to fit it anew would cost it more.
    """
    slopes = [
        (high - low) / (right - left)
        for left, right, low, high in zip(
            (0, *points), points, (0.0, *targets), targets, strict=False
        )
    ]
    slack = ROUNDING * max(map(abs, slopes), default=0.0)
    return min(slopes, default=0.0) >= 0 and all(a >= b - slack for a, b in pairwise(slopes))


def _spread(seen: Mapping[int, Sums]) -> float:
    """Return the relative variance of one grant's yield about its point's, over all points.

    Of a ratio q = V / D: E[(v - q d)^2] / E[v]^2 (Cochran, "Sampling Techniques", section 2.11).
    """
    rest = value = count = 0.0
    for sums in seen.values():
        if sums.busy_s > 0:
            q = sums.value / sums.busy_s
            rest += max(0.0, sums.value2 - 2 * q * sums.cross + q * q * sums.busy2)
            value += sums.value
            count += sums.count
    freedom = max(1.0, count - len(seen))
    return rest / freedom * (count / value) ** 2 if value > 0 else 0.0
