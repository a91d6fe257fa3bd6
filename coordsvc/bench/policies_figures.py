"""Means with intervals, ratios of means, splits of a pool: what `coordsvc bench policies` tells."""

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Any

import numpy as np

T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t at 97.5 %, for 1 to 30 degrees of freedom; for more the last, which is wider."""
RESAMPLES = 2_000
RESAMPLE_SEED = 20_261_122
DIGITS = 4


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean, and the 95 % interval about it by Student's t; of one value, only that."""
    assert values, "something was measured"
    mean = sum(values) / len(values)
    told: dict[str, float | None] = {"mean": significant(mean), "low": None, "high": None}
    if len(values) > 1:
        spread = sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        half = T_975[min(len(values) - 1, len(T_975)) - 1] * spread / sqrt(len(values))
        told |= {"low": significant(mean - half), "high": significant(mean + half)}
    return told


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Return the ratio of two means over the same seeds; its interval by resampling the seeds."""
    assert len(above) == len(below) > 0, "pairs, of the same seeds"
    pairs = np.array([above, below])
    chance = np.random.Generator(np.random.PCG64(RESAMPLE_SEED))
    drawn = chance.integers(0, len(above), size=(RESAMPLES, len(above)))
    sums = pairs[:, drawn].sum(axis=2)
    low, high = np.quantile(sums[0] / sums[1], [0.025, 0.975])
    mean = float(pairs[0].sum() / pairs[1].sum())
    return {
        "mean": significant(mean),
        "low": significant(float(low)),
        "high": significant(float(high)),
    }


def target(what: str, reached: float | None, wanted: float, *, at_least: bool) -> dict[str, Any]:
    """Return what must be shown, what was, and whether that is enough."""
    good = reached is not None and (reached >= wanted if at_least else reached <= wanted)
    return {
        "what": what,
        "reached": None if reached is None else significant(reached),
        "target": wanted,
        "direction": "at least" if at_least else "at most",
        "ok": good,
    }


def significant(value: float) -> float:
    """Return a number without the digits that mean nothing."""
    return float(f"{value:.{DIGITS}g}")


def crossing(points: Mapping[float, float], limit: float) -> float | None:
    """Return the largest load at which a figure is within `limit`: straight between logarithms.

    `points` are figures by load. None where even the smallest load is above the limit.
    """
    loads = sorted(points)
    above = next((n for n, load in enumerate(loads) if points[load] > limit), None)
    if above is None:
        return loads[-1]
    if above == 0:
        return None
    left, right = loads[above - 1], loads[above]
    low, high = log(points[left]), log(points[right])
    return left + (right - left) * (log(limit) - low) / (high - low)


def whole_split(wanted: Mapping[str, float], slots: int) -> dict[str, int]:
    """Return how many slots each is given, so that the most loaded is loaded least; each has one.

    The next slot always goes to whoever has most load for each that it has: for one number to be
    made small, that is the best there is.
    """
    assert len(wanted) <= slots, "each is given at least one"
    given = dict.fromkeys(wanted, 1)
    for _ in range(slots - len(wanted)):
        neediest = max(wanted, key=lambda name: (wanted[name] / given[name], name))
        given[neediest] += 1
    return given


def neighbours(split: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the splits that one slot's move makes; nobody is left with none."""
    return [
        {**split, giver: slots - 1, taker: split[taker] + 1}
        for giver, slots in split.items()
        for taker in split
        if taker != giver and slots > 1
    ]
