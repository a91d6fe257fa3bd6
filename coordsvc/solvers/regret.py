"""How much later than alone each agent finishes, and how unequal that is.

The isolated finish is that of the round by itself: no limit on GPUs or messages, and no other
round in the agent's way. Regret is the mean over rounds of the finish less the isolated finish.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from coordsvc.solvers.instance import Instance, Operation, Schedule

BAND_PERCENT = 5  # of utilisation either way


def isolated(instance: Instance) -> dict[Operation, int]:
    """Return the step at which each operation would finish if its round were alone."""
    finish: dict[Operation, int] = {}
    for agent, number in instance.operations:
        arrivals = [finish[a, number] + 1 for a, b in instance.edges if b == agent]
        begin = max([instance.releases[number], *arrivals])
        finish[agent, number] = begin + instance.duration((agent, number))
    return finish


@lru_cache(maxsize=64)
def latest(instance: Instance) -> Mapping[Operation, int]:
    """Return the last step at which each operation may start for its round to end as if alone."""
    alone = isolated(instance)
    agents = range(len(instance.demands))
    rounds = range(len(instance.releases))
    ends = [max(alone[agent, number] for agent in agents) for number in rounds]
    start: dict[Operation, int] = {}
    for agent, number in reversed(instance.operations):
        needed = [start[b, number] - 1 for a, b in instance.edges if a == agent]
        start[agent, number] = min([ends[number], *needed]) - instance.duration((agent, number))
    return start


def totals(instance: Instance, schedule: Schedule) -> list[int]:
    """Return each agent's regret summed over rounds, in steps."""
    alone = isolated(instance)
    summed = [0] * len(instance.demands)
    for operation in instance.operations:
        finish = schedule.starts[operation] + instance.duration(operation)
        summed[operation[0]] += finish - alone[operation]
    return summed


def regrets(instance: Instance, schedule: Schedule) -> list[float]:
    """Return each agent's mean regret, in steps."""
    return [total / len(instance.releases) for total in totals(instance, schedule)]


def variance(values: Sequence[float]) -> float:
    """Return the variance over all agents, in steps squared."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)


def makespan(instance: Instance, schedule: Schedule) -> int:
    """Return the steps from the first release to the last finish."""
    last = max(schedule.starts[each] + instance.duration(each) for each in instance.operations)
    return last - min(instance.releases)


def utilisation(instance: Instance, schedule: Schedule) -> float:
    """Return the share of GPU-steps in use until the last finish."""
    work = sum(instance.demands[each[0]] * instance.duration(each) for each in instance.operations)
    return work / (instance.capacity * makespan(instance, schedule))


def band(instance: Instance, baseline: Schedule) -> tuple[int, int]:
    """Return the least and the largest makespan that keep utilisation in its band."""
    span = makespan(instance, baseline)
    return -(-span * 100 // (100 + BAND_PERCENT)), span * 100 // (100 - BAND_PERCENT)
