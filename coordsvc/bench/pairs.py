"""Figures taken in pairs: what two things did within one round, compared within that round.

This machine's speed wanders by a factor of two within minutes, so that figures of two moments say
nothing about each other. Within a round the order of the things compared rotates, so that none is
always measured first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over rounds: its median, and the quartiles around it."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the median and quartiles of `values`, of which there is at least one."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours over theirs, round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def rotated(things: Sequence[T], turn: int) -> list[T]:
    """Return the things in the order of round `turn`: each is first in turn."""
    start = turn % len(things)
    return [*things[start:], *things[:start]]


def middle(values: Sequence[float], digits: int) -> float:
    """Return the median, rounded; of none it is an error."""
    return round(median(values), digits)


def shown(name: str, values: Sequence[float]) -> dict[str, object]:
    """Return a ratio as it is printed: its median under `name`, its quartiles beside it."""
    spread = Spread.of(values)
    return {
        name: round(spread.middle, 4),
        f"{name}_iqr": [round(spread.low, 4), round(spread.high, 4)],
    }
