"""The message schedule's solver against a search of everything."""

from itertools import product

import pytest

from coordsvc.solvers.baselines import OldestRound, RoundRobin
from coordsvc.solvers.execute import execute, faults
from coordsvc.solvers.instance import Instance, Schedule
from coordsvc.solvers.regret import makespan, totals, variance

pytest.importorskip("ortools", reason="the experiments extra is not installed")

from coordsvc.solvers.cp_sat import plan

FORK = Instance(
    edges=((0, 1), (0, 2)),
    releases=(0,),
    durations=((1,), (2,), (1,)),
    demands=(1, 1, 1),
    capacity=1,
    messages=1,
)
PEERS = Instance(
    edges=(), releases=(0, 0), durations=((2, 1), (1, 1)), demands=(1, 1), capacity=1, messages=None
)


def best(instance: Instance, baseline: Schedule) -> tuple[float, int]:
    """Return the least variance and then the least sum, by trying every schedule."""
    before, span = totals(instance, baseline), makespan(instance, baseline)
    found = []
    names = [*instance.operations, *instance.sends]
    for times in product(range(span + 1), repeat=len(names)):
        at = dict(zip(names, times, strict=True))
        tried = Schedule(
            starts={each: at[each] for each in instance.operations},
            sent={each: at[each] for each in instance.sends},
        )
        now = totals(instance, tried)
        if any(n > b for n, b in zip(now, before, strict=True)):
            continue
        if not span * 100 <= makespan(instance, tried) * 105 or faults(instance, tried):
            continue
        if makespan(instance, tried) * 95 <= span * 100:
            found.append((variance(now), sum(now)))
    return min(found)


@pytest.mark.parametrize("instance", [FORK, PEERS], ids=["fork", "peers"])
@pytest.mark.parametrize("rule", [RoundRobin(), OldestRound()], ids=["robin", "oldest"])
def test_the_optimum_is_that_of_a_search_of_everything(
    instance: Instance, rule: RoundRobin | OldestRound
) -> None:
    baseline = execute(instance, rule)
    planned = plan(instance, baseline)
    now = totals(instance, planned.schedule)
    assert (planned.status, planned.gap) == ("OPTIMAL", 0)
    assert faults(instance, planned.schedule) == []
    assert (variance(now), sum(now)) == pytest.approx(best(instance, baseline))
