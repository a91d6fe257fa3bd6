"""When turns arrive: processes of which the mean rate is given."""

import math
from collections.abc import Callable, Iterator

from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.simulation.chance import Draws

Arrivals = Callable[[Draws, float, Micros], Iterator[Instant]]
"""Takes chance, turns a second on average, and how long; yields instants, rising."""

CALM, BURST = 0.5, 3.0
"""Multiples of the mean rate."""
CALM_S, BURST_S = 8.0, 2.0
"""Mean length of each; with the above, the mean rate is kept: (8 * 0.5 + 2 * 3) / 10 = 1."""
SWING = 0.8
"""How far a day's rate moves around its mean."""
DAYS = 2
"""Days in one run; they are short."""


def poisson(draws: Draws, rate: float, lasts: Micros) -> Iterator[Instant]:
    """Yield arrivals that know nothing of each other."""
    now = draws.wait(rate)
    while now < lasts:
        yield Instant(now)
        now = Micros(now + draws.wait(rate))


def bursty(draws: Draws, rate: float, lasts: Micros) -> Iterator[Instant]:
    """Yield arrivals whose rate changes between two levels (a Markov-modulated Poisson process)."""
    now, burst = 0, False
    while now < lasts:
        ends = now + draws.wait(1 / (BURST_S if burst else CALM_S))
        level = rate * (BURST if burst else CALM)
        arrival = now + draws.wait(level)
        while arrival < min(ends, lasts):
            yield Instant(arrival)
            arrival += draws.wait(level)
        now, burst = ends, not burst


def diurnal(draws: Draws, rate: float, lasts: Micros) -> Iterator[Instant]:
    """Yield arrivals whose rate follows the sun: thinned from a process of the peak rate."""
    peak = rate * (1 + SWING)
    day_s = lasts / DAYS / SECOND
    for arrival in poisson(draws, peak, lasts):
        of_day = arrival / SECOND / day_s
        level = 1 - SWING * math.cos(2 * math.pi * of_day)  # each day begins at night
        if draws.uniform() * (1 + SWING) < level:
            yield arrival


def rising(begins: float, to: float) -> Arrivals:
    """Return the process of which the rate rises to `to` times the mean, from a part of the run.

    The rate that is given is the one before.
    """

    def arrivals(draws: Draws, rate: float, lasts: Micros) -> Iterator[Instant]:
        for arrival in poisson(draws, rate * max(1.0, to), lasts):
            level = risen(arrival / lasts, begins, to)
            if draws.uniform() * max(1.0, to) < level:
                yield arrival

    return arrivals


def risen(part: float, begins: float, to: float) -> float:
    """Return 1 until a part of the run, then what lies on the straight line to `to` at its end."""
    return 1 + (to - 1) * max(0.0, part - begins) / (1 - begins)


def window_of(arrival: Instant, lasts: Micros, windows: int) -> int:
    """Return the number of the window that an instant of a run lies in."""
    return min(windows - 1, arrival * windows // lasts)


PROCESSES: dict[str, Arrivals] = {
    "poisson": poisson,
    "bursty": bursty,
    "diurnal": diurnal,
}
