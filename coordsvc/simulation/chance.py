"""Chance, from one seed, in streams that do not disturb each other.

Each purpose has a stream of its own, so that what one consumes never shifts another: two policies
see the same arrivals, costs and deadlines. Only uniform numbers are drawn (exact on any machine);
what is made of them goes through `math` and is rounded to whole microseconds at once, so that the
last bit of a logarithm, which machines may differ in, does not reach the result.
"""

import math
from collections.abc import Callable
from enum import IntEnum
from statistics import NormalDist

import numpy as np

from coordsvc.core.units import Micros

BLOCK = 1_024
"""Numbers drawn at a time: one call of numpy costs as much as hundreds of its numbers."""


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of what a seed means: only ever add some."""

    ARRIVALS = 0
    COSTS = 1
    DEADLINES = 2
    CHECKS = 3
    ROLES = 4
    USERS = 5
    DELAYS = 6
    NODE_FAULTS = 7
    ALLOCATOR_FAULTS = 8
    MESSAGE_FAULTS = 9
    AGENT_FAULTS = 10


class Draws:
    """One stream of uniform numbers, and what is made of them."""

    __slots__ = ("_block", "_generator")

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._block: list[float] = []

    def uniform(self) -> float:
        """Return a number of [0, 1)."""
        if not self._block:
            self._block = self._generator.random(BLOCK).tolist()
            self._block.reverse()
        return self._block.pop()

    def below(self, bound: int) -> int:
        """Return a whole number of [0, bound)."""
        return int(self.uniform() * bound)

    def one_in(self, weights: tuple[float, ...]) -> int:
        """Return an index, each as likely as its weight says."""
        left = self.uniform() * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        return len(weights) - 1

    def wait(self, per_second: float) -> Micros:
        """Return the time to the next of events that come at this rate, without memory."""
        return Micros(round(exponential(self.uniform()) / per_second * 1_000_000))


def streams(seed: int, *key: int) -> dict[Purpose, Draws]:
    """Return a stream for each purpose; `key` tells one set from others of the same seed."""
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    children = sequence.spawn(len(Purpose))
    return {
        purpose: Draws(np.random.Generator(np.random.PCG64(child)))
        for purpose, child in zip(Purpose, children, strict=True)
    }


Shape = Callable[[float], float]
"""A quantile function with mean 1: takes a number of [0, 1), returns a length."""


def exponential(uniform: float) -> float:
    """Return the exponential quantile; its mean is 1."""
    return -math.log1p(-uniform)


def even(uniform: float) -> float:
    """Return a length from a half to one and a half, all alike likely."""
    return 0.5 + uniform


def lognormal(sigma: float, most: float) -> Shape:
    """Return a lognormal shape, cut at `most` times its median."""
    normal = NormalDist()

    def raw(uniform: float) -> float:
        inside = min(max(uniform, 1e-12), 1 - 1e-12)
        return min(most, math.exp(sigma * normal.inv_cdf(inside)))

    return _of_mean_one(raw)


def pareto(alpha: float, most: float) -> Shape:
    """Return a Pareto shape bounded to [1, most] times its shortest."""
    tail = most**-alpha

    def raw(uniform: float) -> float:
        return float((1 - uniform * (1 - tail)) ** (-1 / alpha))

    return _of_mean_one(raw)


def _of_mean_one(raw: Shape, points: int = 20_000) -> Shape:
    """Return the shape divided by its mean, which a midpoint sum gives to about a per cent."""
    mean = sum(raw((i + 0.5) / points) for i in range(points)) / points

    def shape(uniform: float) -> float:
        return raw(uniform) / mean

    return shape
