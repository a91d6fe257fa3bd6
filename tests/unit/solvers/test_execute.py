"""Whatever the rule, what is carried out keeps to the instance."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.solvers.baselines import (
    FirstCome,
    Offers,
    OldestRound,
    Planned,
    RoundRobin,
    SlackFirst,
)
from coordsvc.solvers.execute import Rule, execute, faults
from coordsvc.solvers.generator import TOPOLOGIES, Shape, generate
from coordsvc.solvers.instance import Schedule
from tests.unit.solvers.test_regret import CHAIN, PLAYED

RULES = [RoundRobin(), Offers(), OldestRound(), FirstCome(), SlackFirst(known=CHAIN)]


@given(
    shape=st.builds(
        Shape,
        topology=st.sampled_from(sorted(TOPOLOGIES)),
        rounds=st.integers(1, 3),
        capacity=st.integers(2, 4),
        messages=st.sampled_from([1, 2, None]),
    ),
    seed=st.integers(0, 1_000),
    rule=st.sampled_from(RULES),
)
@settings(max_examples=60, deadline=None)
def test_no_rule_breaks_a_limit(shape: Shape, seed: int, rule: Rule) -> None:
    instance = generate(shape, seed)
    rule = SlackFirst(known=instance) if isinstance(rule, SlackFirst) else rule
    assert faults(instance, execute(instance, rule)) == []


def test_a_plan_of_the_whole_is_carried_out_as_planned() -> None:
    assert execute(CHAIN, Planned(plan=PLAYED)) == PLAYED


def test_each_broken_limit_is_named() -> None:
    early = Schedule(
        starts={**PLAYED.starts, (0, 1): 0, (1, 0): 2}, sent={(0, 1, 0): 2, (0, 1, 1): 2}
    )
    found = faults(CHAIN, early)
    assert "agent 0 starts round 1 before its release" in found
    assert "message 0 to 1 of round 0 is out of order" in found
    assert "2 messages in step 2" in found
    assert "an agent runs two operations in step 0" in found
    assert "2 GPUs in step 0" in found
    assert faults(replace(CHAIN, capacity=2), PLAYED) == []


@pytest.mark.parametrize("rule", RULES)
def test_nothing_waits_while_there_is_room(rule: Rule) -> None:
    wide = replace(CHAIN, capacity=2, messages=None)
    assert execute(wide, rule).starts == {(0, 0): 0, (0, 1): 2, (1, 0): 3, (1, 1): 6}
