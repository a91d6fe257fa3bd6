"""A dialogue service as an instance, and a plan of it as the policy is told."""

from dataclasses import replace

import pytest

pytest.importorskip("ortools", reason="the experiments extra is not installed")

from coordsvc.core.errors import BadRequest
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId
from coordsvc.solvers import cp_sat, regret
from coordsvc.solvers.baselines import FirstCome, Offers
from coordsvc.solvers.dialogue import Chain, instance, order
from coordsvc.solvers.execute import execute, faults

PLANNER, RESPONDER, CHECKER = AgentId("planner"), AgentId("responder"), AgentId("checker")
AGENTS = (PLANNER, RESPONDER, CHECKER)
CHAIN = Chain(
    agents=AGENTS,
    demands={
        PLANNER: Resources(cpu_milli=1_000),
        RESPONDER: Resources(cpu_milli=2_000),
        CHECKER: Resources(cpu_milli=1_000),
    },
    lasts_s={PLANNER: 0.4, RESPONDER: 0.9, CHECKER: 0.2},
    engine=Resources(cpu_milli=2_000),
    engines=1,
    turns=3,
    gap_s=0.3,
    step_s=0.1,
)


def test_phases_are_a_chain_and_demands_are_shares_of_an_engine() -> None:
    made = instance(CHAIN)
    assert made.edges == ((0, 1), (1, 2))
    assert made.releases == (0, 3, 6)
    assert made.durations == ((4,) * 3, (9,) * 3, (2,) * 3)
    assert made.demands == (500, 1_000, 500)
    assert made.capacity == 1_000


def test_an_agent_may_run_phases_of_several_turns_at_once() -> None:
    at_once = instance(replace(CHAIN, gap_s=0.0))
    ran = execute(at_once, FirstCome())
    starts = [ran.starts[0, turn] for turn in range(3)]
    assert starts[:2] == [0, 0], "two planners fit into one engine"
    assert faults(at_once, ran) == []
    one_at_a_time = replace(at_once, one_at_a_time=True)
    assert any("two operations" in fault for fault in faults(one_at_a_time, ran))


def test_a_plan_can_be_carried_out_and_delays_no_agent_more_than_fair_sharing() -> None:
    made = instance(CHAIN)
    shared = execute(made, Offers())
    plan = cp_sat.plan(made, shared).schedule
    assert faults(made, plan) == []
    ours, theirs = regret.totals(made, plan), regret.totals(made, shared)
    assert all(mine <= yours for mine, yours in zip(ours, theirs, strict=True))
    assert regret.variance(regret.regrets(made, plan)) <= regret.variance(
        regret.regrets(made, shared)
    )


def test_the_policy_is_told_each_phase_once_and_no_turns_phases_the_wrong_way_round() -> None:
    made = instance(CHAIN)
    told = order(AGENTS, cp_sat.plan(made, execute(made, Offers())).schedule)
    assert sorted(told) == sorted((turn, agent) for turn in range(3) for agent in AGENTS)
    for turn in range(3):
        assert [agent for number, agent in told if number == turn] == list(AGENTS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lasts_s": {PLANNER: 1.0, RESPONDER: 1.0}}, "how many seconds checker's phase lasts"),
        ({"lasts_s": {**CHAIN.lasts_s, AgentId("x"): 1.0}}, "x is no agent of the deployment"),
        ({"lasts_s": {**CHAIN.lasts_s, PLANNER: 0.0}}, "planner's phase lasts 0.0 s"),
        ({"lasts_s": {**CHAIN.lasts_s, PLANNER: float("nan")}}, "planner's phase lasts nan s"),
        ({"turns": 0}, "turns is 0: it must be 1 to 64"),
        ({"step_s": 0.0001}, "the plan has 54000 steps; the most is 5000"),
        ({"engine": Resources(cpu_milli=500)}, "planner wants more of an engine than there is"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_what_is_wrong(
    wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(BadRequest, match=said):
        instance(replace(CHAIN, **wrong))  # type: ignore[arg-type]
