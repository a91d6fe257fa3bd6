"""How much smaller a rule's regret variance is than a baseline's: D, planned and executed.

D is 1 - Var(rule) / Var(baseline). Planned figures know every duration ahead; executed ones follow
the same order while the durations come out otherwise, lognormal about the planned ones. Isolated
finishes are then those of the durations that came.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coordsvc.solvers.execute import Rule, execute
from coordsvc.solvers.instance import Instance, Schedule
from coordsvc.solvers.regret import regrets, variance

VARIANCE_MIN = 0.01  # steps squared: of less there is nothing to lessen, and D is noise
SPREAD = 0.25  # sigma of the lognormal factor on durations


def gain(variance_now: float, variance_base: float) -> float | None:
    """Return D, or None where the baseline has next to no variance."""
    return None if variance_base < VARIANCE_MIN else 1.0 - variance_now / variance_base


def planned_gain(instance: Instance, schedule: Schedule, baseline: Schedule) -> float | None:
    """Return D of one schedule over another when all durations come as planned."""
    return gain(variance(regrets(instance, schedule)), variance(regrets(instance, baseline)))


def disturbed(instance: Instance, seed: int, draws: int) -> list[Instance]:
    """Return the instance with other durations, as many times as asked; the same for a seed."""
    chance = np.random.default_rng(seed)
    planned = np.array(instance.durations)
    factors = chance.lognormal(0.0, SPREAD, (draws, *planned.shape))
    came = np.maximum(1, np.rint(planned * factors)).astype(int).tolist()
    return [replace(instance, durations=tuple(tuple(row) for row in each)) for each in came]


def executed_variance(came: Sequence[Instance], rule: Rule) -> float:
    """Return the mean regret variance of a rule over what came, in steps squared."""
    found = [variance(regrets(each, execute(each, rule))) for each in came]
    return sum(found) / len(found)
