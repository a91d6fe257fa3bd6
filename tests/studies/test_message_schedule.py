"""The message schedule: its solvers against a search of everything, and the study in small."""

from itertools import product

import pytest

from coordsvc.solvers.baselines import Offers, OldestRound, RoundRobin
from coordsvc.solvers.execute import execute, faults
from coordsvc.solvers.generator import Shape, generate
from coordsvc.solvers.instance import Instance, Schedule
from coordsvc.solvers.regret import makespan, totals, variance

pytest.importorskip("ortools", reason="the experiments extra is not installed")


from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries
from coordsvc.experiments.studies.message_schedule import MessageSchedule
from coordsvc.experiments.study import Plan, Row, Verdict
from coordsvc.solvers import milp_highs, milp_pulp
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


@pytest.mark.parametrize("other", [milp_highs.plan, milp_pulp.plan], ids=["highs", "cbc"])
@pytest.mark.parametrize("seed", [101, 202])
def test_the_linear_program_has_the_same_optimum(other: object, seed: int) -> None:
    assert callable(other)
    instance = generate(Shape(rounds=2, capacity=2), seed)
    baseline = execute(instance, Offers())
    exact, linear = plan(instance, baseline), other(instance, baseline)
    assert (exact.status, linear.status) == ("OPTIMAL", "OPTIMAL")
    assert faults(instance, linear.schedule) == []
    found = [totals(instance, each.schedule) for each in (exact, linear)]
    assert variance(found[1]) == pytest.approx(variance(found[0]))
    assert sum(found[1]) == sum(found[0])


def study_plan(**laid: object) -> Plan:
    told = entries.plan(entries.entry("message-schedule"), "test")
    return Plan(
        preset="test",
        seeds=told.seeds,
        gpus=None,
        engine=None,
        parameters={**told.parameters, **laid},
    )


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    study = MessageSchedule()
    return [row for cell in study.cells(study_plan()) for row in study.run(cell, lambda _: None)]


def test_every_plan_of_the_study_keeps_the_rules(rows: list[Row]) -> None:
    assert {row["faults"] for row in rows} == {0}
    assert {row["worse_off"] for row in rows} == {0}
    assert set(rows[0]) == set(entries.entry("message-schedule").columns)


def drawn(executed: list[float], oldest: float, free: float, table: float) -> list[Row]:
    """Return rows of a run that went so."""
    base: Row = {
        "baseline": "offers", "solver": "cp_sat", "status": "OPTIMAL", "gap": 0.0, "wall_s": 1.0,
        "planned_d": 0.5, "oldest_d": oldest, "slack_d": 0.1, "first_come_d": 0.1, "use": 1.0,
        "worse_off": 0, "faults": 0,
    }  # fmt: skip
    told = [
        {**base, "variant": "base", "table": False, "seed": seed, "executed_d": value}
        for seed, value in enumerate(executed)
    ]
    told += [{**row, "variant": "messages_free", "executed_d": free} for row in told]
    return [*told, {**told[0], "variant": "base", "table": True, "executed_d": table}]


@pytest.mark.parametrize(
    ("rows_drawn", "verdict", "unmet"),
    [
        (drawn([0.3, 0.32, 0.34], 0.1, 0.1, 0.3), Verdict.CONFIRMED, []),
        (drawn([0.3, 0.32, 0.34], 0.1, 0.4, 0.3), Verdict.FALSIFIED, ["messages_matter"]),
        (drawn([0.3, 0.32, 0.34], 0.4, 0.1, 0.3), Verdict.FALSIFIED, ["better_than_oldest"]),
        (drawn([0.3, 0.32, 0.34], 0.1, 0.1, -0.1), Verdict.FALSIFIED, ["table_seeds"]),
        (drawn([0.6, 0.62, 0.64], 0.1, 0.1, 0.3), Verdict.FALSIFIED, ["claim"]),
        (drawn([0.1, 0.32, 0.54], 0.0, 0.0, 0.3), Verdict.UNDECIDED, []),
    ],
)
def test_the_verdict_falls_with_any_of_the_tests(
    rows_drawn: list[Row], verdict: Verdict, unmet: list[str]
) -> None:
    came = MessageSchedule().conclude(study_plan(), rows_drawn)
    assert came.verdict is verdict
    assert [one.name for one in came.findings if one.met is False] == unmet


def test_a_plan_that_leaves_an_agent_worse_off_falsifies() -> None:
    told = drawn([0.3, 0.32, 0.34], 0.1, 0.1, 0.3)
    told[0]["worse_off"] = 1
    came = MessageSchedule().conclude(study_plan(), told)
    assert [one.name for one in came.findings if one.met is False] == ["honest_plans"]


@pytest.mark.parametrize(
    "laid", [{"variants": ["ring"]}, {"baselines": ["luck"]}, {"table_seeds": [1]}]
)
def test_what_cannot_be_planned_is_refused(laid: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        MessageSchedule().check(study_plan(**laid))
