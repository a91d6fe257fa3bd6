"""What each agent is to learn: the service's own prompts, and the answers."""

import json
from collections import Counter

import pytest
from jsonschema import validate

from coordsvc.agents.roles import ROLES, VERDICT_SCHEMA, Budget, read_verdict
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase, PhaseWork, Run
from coordsvc.core.generation import Message, Sampling
from coordsvc.core.units import SECOND, AgentId, Micros
from coordsvc.training.samples import Sample, draw, held_out_trees
from coordsvc.training.trees import Wanted, grow
from tests.unit.training.dialogues import forest, said, tree

BEST = "1. Heat fresh water for tea\n2. Wait four minutes: no longer\n3. Pour it"
PLAN = "The answer must contain: Heat fresh water for tea; Wait four minutes; Pour it."
TALK = (
    Message("user", "How do I make tea?"),
    Message("assistant", BEST),
    Message("user", "And when it is hot outside?"),
)


def drawn(rows: list[dict], turns: int = 3) -> tuple[list[Sample], Counter[str]]:
    drops: Counter[str] = Counter()
    return list(draw(grow(rows, Wanted()), turns, drops)), drops


def of(samples: list[Sample], agent: AgentId, name: str) -> Sample:
    (found,) = [one for one in samples if one.id == f"{name}/{agent}"]
    assert found.agent == agent
    return found


def asked(conversation: tuple[Message, ...], run: Run) -> tuple[Message, ...]:
    """Return what the service sends, from a turn as it would really stand there."""
    work = PhaseWork(
        turn_id="t17",
        run=run,
        conversation=conversation,
        max_tokens=256,
        sampling=Sampling(temperature=0.7, seed=9),
        stream=True,
        left_us=Micros(9 * SECOND),
        warm_tokens=12,
        prefix_key="abc",
    )
    return ROLES[run.agent].ask(work, Budget(plan_tokens=30)).messages


def test_planner_and_responder_are_asked_what_the_service_asks_them() -> None:
    samples, _ = drawn(tree())
    plan = of(samples, PLANNER, "t.a")
    assert plan.messages == asked(TALK[:1], Run(Phase.PLAN, PLANNER))
    assert plan.target == PLAN
    reply = of(samples, RESPONDER, "t.a")
    assert reply.messages == asked(TALK[:1], Run(Phase.RESPOND, RESPONDER, plan=PLAN))
    assert reply.target == BEST
    later = of(samples, PLANNER, "t.a.c.d")
    assert later.messages == asked(TALK, Run(Phase.PLAN, PLANNER))
    assert {one.tree for one in samples} == {"t"}


def test_the_checker_accepts_the_best_of_siblings_and_not_the_worst() -> None:
    middle = said("t.m", "t", "Boil water, and wait.", rank=1)
    samples, drops = drawn([*tree()[:2], middle, tree()[2] | {"rank": 2}])
    good, bad = of(samples, CHECKER, "t.a"), of(samples, CHECKER, "t.b")
    assert good.messages == asked(TALK[:1], Run(Phase.CHECK, CHECKER, draft=BEST))
    assert bad.messages == asked(TALK[:1], Run(Phase.CHECK, CHECKER, draft="Just buy tea."))
    assert [read_verdict(one.target).accept for one in (good, bad)] == [True, False]
    assert [read_verdict(one.target).score for one in (good, bad)] == [8, 3]
    assert sum(one.agent == CHECKER for one in samples) == 2
    assert not drops


@pytest.mark.parametrize("quality", [0.0, 0.31, 0.5, 0.97, 1.0])
def test_verdicts_follow_labels_within_the_schema_and_never_contradict_themselves(
    quality: float,
) -> None:
    labels = {"quality": {"value": quality, "count": 3}, "toxicity": {"value": 0.8, "count": 3}}
    samples, _ = drawn([tree()[0], *(one | {"labels": labels} for one in tree()[1:3])])
    verdicts = {}
    for name in ("t.a", "t.b"):
        target = of(samples, CHECKER, name).target
        validate(json.loads(target), json.loads(VERDICT_SCHEMA))
        verdicts[name] = read_verdict(target)
        assert list(json.loads(target)) == ["accept", "score", "reason"]
    assert verdicts["t.a"].score == max(6, round(10 * quality))
    assert verdicts["t.b"].score == min(5, round(10 * quality))
    assert verdicts["t.b"].reason == "toxic"


def test_siblings_that_nobody_ranked_or_that_say_the_same_are_no_pair() -> None:
    question, good, bad = tree()[:3]
    unranked, drops = drawn([question, good | {"rank": None}, bad])
    assert drops == {"siblings_not_ranked": 1}
    alike, drops = drawn([question, good, bad | {"text": good["text"].upper()}])
    assert drops["siblings_alike"] == 1
    alone, drops = drawn([question, good])
    assert not drops
    assert not [one for one in (*unranked, *alike, *alone) if one.agent == CHECKER]


def test_no_more_exchanges_than_asked_for_stand_in_a_prompt() -> None:
    samples, _ = drawn(tree(), turns=1)
    assert of(samples, PLANNER, "t.a.c.d").messages == asked(TALK[2:], Run(Phase.PLAN, PLANNER))


def test_a_sample_that_differs_in_spaces_and_capitals_alone_is_counted_and_left_out() -> None:
    again = [one | {"text": one["text"].upper() + " "} for one in tree("u", "tea")]
    once, _ = drawn(tree())
    both, drops = drawn([*tree(), *again])
    responders = [one for one in both if one.agent == RESPONDER]
    assert {one.tree for one in responders} <= {"t", "u"}
    assert drops["doubled_sample"] == len(once) * 2 - len(both) > 0


def test_a_reply_without_words_teaches_nothing() -> None:
    samples, drops = drawn([tree()[0], tree()[1] | {"text": "?!"}])
    assert samples == []
    assert drops == {"no_plan": 1}


def test_trees_are_held_out_by_share_and_seed() -> None:
    samples, _ = drawn(forest(20))
    held = held_out_trees(samples, 0.25, 42)
    assert len(held) == 5
    assert held == held_out_trees(samples[::-1], 0.25, 42)
    assert held != held_out_trees(samples, 0.25, 43)
    assert held_out_trees(samples, 0, 42) == frozenset()


def test_of_two_trees_one_is_held_out_however_small_the_share() -> None:
    samples, _ = drawn(forest(2))
    assert [len(held_out_trees(samples, share, 1)) for share in (0.01, 0.9)] == [1, 1]
