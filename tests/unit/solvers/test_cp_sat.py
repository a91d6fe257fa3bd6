"""The rules that keep a plan honest, and that it repeats."""

import pytest

from coordsvc.solvers.baselines import RoundRobin
from coordsvc.solvers.execute import execute, faults
from coordsvc.solvers.generator import Shape, generate
from coordsvc.solvers.instance import Instance
from coordsvc.solvers.regret import totals, variance

pytest.importorskip("ortools", reason="the experiments extra is not installed")

from coordsvc.solvers.cp_sat import plan


def test_no_agent_is_worse_off_and_the_plan_repeats() -> None:
    instance = generate(Shape(rounds=3), 202)
    baseline = execute(instance, RoundRobin())
    planned = plan(instance, baseline, effort=0.3)
    before, now = totals(instance, baseline), totals(instance, planned.schedule)
    assert faults(instance, planned.schedule) == []
    assert all(n <= b for n, b in zip(now, before, strict=True))
    assert variance(now) <= variance(before)
    assert plan(instance, baseline, effort=0.3) == planned


def test_equality_is_not_bought_by_delaying_the_lucky() -> None:
    """Agent 1 could idle one step and be as late as agent 0, whose lateness nobody can mend."""
    instance = Instance(
        edges=(),
        releases=(0, 0),
        durations=((2, 2), (1, 1)),
        demands=(1, 1),
        capacity=2,
        messages=1,
    )
    planned = plan(instance, execute(instance, RoundRobin()))
    assert planned.status == "OPTIMAL"
    assert totals(instance, planned.schedule) == [2, 1]
