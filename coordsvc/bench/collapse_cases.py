"""The runs of `coordsvc bench collapse`: pools that break down, each in one way, and others.

A case is drawn whole from its kind and its number: loads, when the drift begins, how fast it is.
What breaks the pool down:

    ramp         more and more turns
    contention   the same, on engines that get slower with every phase that they run beside others
    growing      drafts and checks take longer and longer
    slow_agents  every agent holds its grants longer and longer before work begins
    retries      messages are lost, more and more; lost work is found out after a second, and redone
    nodes        engines die one after another, and none comes back

What does not: `busy` (Poisson, 70 to 85 % of the pool), `bursty`, `diurnal` (noons of 65 to 80 %).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np

from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.simulation.settings import FaultTerms, SimSettings
from coordsvc.simulation.windows import Dial
from coordsvc.simulation.workload import NodePlan, WorkloadTerms
from coordsvc.simulation.world import World

WINDOW_US = Micros(10 * SECOND)
"""Of 40 to 70 turns."""
COLLAPSING = ("ramp", "contention", "growing", "slow_agents", "retries", "nodes")
STATIONARY = ("busy", "busy", "bursty", "busy", "busy", "bursty", "busy", "diurnal")
"""Of eight stationary runs five are busy, two bursty."""
PHASES = WorkloadTerms(
    plan_us=Micros(250_000), respond_us=Micros(600_000), check_us=Micros(150_000), even=True
)
"""A turn computes for a bit over a second, and its phases are cut by a limit on tokens."""
SINGLE = (NodePlan(count=16, slots=1),)
FULL = 1.35
"""A drift is as strong as this in the end, where 1 is all that the pool can do."""
LONG = 8
"""How many times longer a diurnal run is. It is of two days, half an hour each: 40 times as fast as
the sun's, and about as steep at noon as the slowest drift."""
AWAY_US = Micros(100_000 * SECOND)
"""Longer than any run: a dead engine stays away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run to come."""

    kind: str
    settings: SimSettings
    onset: int | None
    """The first window of the drift; None where there is none."""
    ends: Mapping[str, float]
    """What is turned while it runs, and what each comes to in the last window."""

    @property
    def windows(self) -> int:
        """How many there are."""
        return self.settings.lasts_us // WINDOW_US

    def dial(self) -> Dial:
        """Return what turns the world's dials."""
        return _Dials(self).turn


class _Dials:
    """Turns what the case says, window by window."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._lost = 0
        self._window = 0

    def turn(self, world: World) -> None:
        """Come to the next window."""
        case, n = self._case, self._window
        self._window += 1
        if case.onset is None or n < case.onset:
            return
        part = (n + 1 - case.onset) / (case.windows - case.onset)
        for dial, end in case.ends.items():
            if dial == "slow_us":
                world.slow_us = Micros(round(part * end))
            elif dial == "lost":
                world.wire.loses(part * end)
            elif dial == "nodes":
                while self._lost < round(part * end):
                    world.node_dies(self._lost)
                    self._lost += 1


def collapsing(count: int, seed: int) -> list[Case]:
    """Return so many cases that break down, each kind alike often."""
    kinds = islice(cycle(COLLAPSING), count)
    return [breaks_down(kind, seed + n) for n, kind in enumerate(kinds)]


def stationary(count: int, seed: int, windows: int) -> list[Case]:
    """Return so many cases that do not."""
    kinds = islice(cycle(STATIONARY), count)
    return [stays(kind, seed + n, windows) for n, kind in enumerate(kinds)]


def breaks_down(kind: str, seed: int) -> Case:
    """Return a case that breaks down in the way that its kind says."""
    draws = np.random.default_rng([seed, COLLAPSING.index(kind)])
    load = float(draws.uniform(0.5, 0.7))
    onset = int(draws.integers(14, 23))
    drifts = int(draws.integers(30, 61))
    windows = onset + drifts
    terms = replace(PHASES, drift_begins=onset / windows, drift_to=FULL / load)
    workload = {"growing": "growing", "ramp": "ramp", "contention": "ramp"}.get(kind, "poisson")
    faults = FaultTerms(node_away_us=AWAY_US)
    if kind == "slow_agents":
        faults = FaultTerms(slow_agents=1.0, slow_us=Micros(0))
    settings = SimSettings(
        workload=workload,
        seed=seed,
        load=load - (0.1 if kind == "contention" else 0.0),
        lasts_us=Micros(windows * WINDOW_US),
        checked=bool(draws.integers(2)),
        workload_terms=terms,
        nodes=SINGLE if kind == "nodes" else (),
        contention=float(draws.uniform(0.02, 0.05)) if kind == "contention" else 0.0,
        faults=faults,
    )
    ends: dict[str, dict[str, float]] = {
        "slow_agents": {"slow_us": float(draws.uniform(300_000, 450_000))},
        "retries": {"lost": float(draws.uniform(0.035, 0.05))},
        "nodes": {"nodes": round(16 * (1 - load / FULL))},
    }
    return Case(kind=kind, settings=settings, onset=onset, ends=ends.get(kind, {}))


def stays(kind: str, seed: int, windows: int) -> Case:
    """Return a case in which nothing drifts."""
    draws = np.random.default_rng([seed, 100 + STATIONARY.index(kind)])
    loads = {"busy": (0.70, 0.85), "bursty": (0.28, 0.36), "diurnal": (0.65 / 1.8, 0.80 / 1.8)}
    settings = SimSettings(
        workload="poisson" if kind == "busy" else kind,
        seed=seed,
        load=float(draws.uniform(*loads[kind])),
        lasts_us=Micros(windows * WINDOW_US * (LONG if kind == "diurnal" else 1)),
        checked=bool(draws.integers(2)),
        workload_terms=PHASES,
    )
    return Case(kind=kind, settings=settings, onset=None, ends={})


def instant(window: int) -> Instant:
    """Return when a window begins."""
    return Instant(window * WINDOW_US)
