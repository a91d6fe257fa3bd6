"""A turn from its question to its account: who is asked what, what is shown when, what it cost."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from coordsvc.agents.conductor import Conductor, Limits
from coordsvc.core.accounting import PARTS, Delta, PhaseDone, PhaseReport, TurnEvent, TurnResult
from coordsvc.core.dialogue import (
    CHECKER,
    PLANNER,
    RESPONDER,
    WORKER,
    Phase,
    ReplyMode,
    Rules,
    TurnRequest,
    Verdict,
)
from coordsvc.core.errors import AgentGone, BadRequest, DeadlinePassed, Overloaded
from coordsvc.core.generation import Message
from coordsvc.core.units import MILLISECOND, SECOND, AgentId, Instant, Micros
from tests.fakes import N1, N2, FakeAgents, FakeRecorder, Never, Wait, joined
from tests.jumping import NOW, LoopClock, passed_us, settle

TWO: tuple[AgentId, ...] = (PLANNER, RESPONDER)
THREE: tuple[AgentId, ...] = (*TWO, CHECKER)
GOOD = Verdict(accept=True, score=9, reason="clear")
BAD = Verdict(accept=False, score=3, reason="too gloomy")
ARRIVED = Instant(NOW - 2 * MILLISECOND)
DEADLINE = Micros(10 * SECOND)


def request(
    mode: ReplyMode = ReplyMode.CHECK_THEN_SEND, *, stream: bool = False, turn_id: str = "t1"
) -> TurnRequest:
    return TurnRequest(
        turn_id=turn_id,
        conversation=(Message("user", "How are you?"),),
        max_tokens=20,
        mode=mode,
        stream=stream,
        deadline_us=DEADLINE,
    )


def done(phase: Phase, text: str = "", verdict: Verdict | None = None, **report: Any) -> PhaseDone:
    """Return the end of a phase of 100 ms: 5 of them the agent's own, 5 on the wire, 90 engine."""
    usual = {
        "phase": phase,
        "agent": WORKER[phase],
        "node": N1,
        "agent_us": 100_000,
        "engine_call_us": 95_000,
        "queue_us": 10_000,
        "compute_us": 80_000,
        "solo_us": 60_000,
        "refill_us": 15_000,
        "prompt_tokens": 40,
        "shared_tokens": 20,
        "output_tokens": 4,
    }
    return PhaseDone(text, "stop", verdict, PhaseReport(**(usual | report)))


def plays(phase: Phase, outcome: str | Verdict, *before: Any, **report: Any) -> list[Any]:
    """Return the script of a phase that takes 100 ms, beside what comes before its end."""
    if isinstance(outcome, Verdict):
        return [*before, Wait(0.1), done(phase, "{...}", outcome, **report)]
    return [*before, Wait(0.1), done(phase, outcome, **report)]


PLANS = plays(Phase.PLAN, "Be kind.")
RESPONDS = plays(Phase.RESPOND, "All is well.")
SPEAKS = plays(Phase.RESPOND, "All is well.", "All is ", "well.")
ACCEPTS = plays(Phase.CHECK, GOOD)
REJECTS = plays(Phase.CHECK, BAD)
REVISES = plays(Phase.REVISE, "All is very well.")


class House:
    """A conductor among fakes."""

    def __init__(
        self,
        *scripts: list[Any],
        agents: tuple[AgentId, ...] = THREE,
        adapted: tuple[AgentId, ...] = (),
        **limits: int,
    ) -> None:
        self.agents = FakeAgents(*scripts)
        self.recorder = FakeRecorder()
        rules = Rules(agents=agents, adapted=frozenset(adapted))
        self.conductor = Conductor(self.agents, rules, LoopClock(), self.recorder, Limits(**limits))

    async def turn(self, what: TurnRequest) -> list[TurnEvent]:
        return [event async for event in self.conductor.converse(what, ARRIVED)]


def result_of(events: list[TurnEvent]) -> TurnResult:
    """Return the turn's end, which is the last event and the only one."""
    *pieces, result = events
    assert isinstance(result, TurnResult)
    assert all(isinstance(piece, Delta) for piece in pieces)
    return result


def in_ms(result: TurnResult) -> dict[str, float]:
    parts = result.account.parts
    return {part: spent / MILLISECOND for part, spent in parts.items() if spent}


# Who is asked what


async def test_two_agents_plan_and_respond() -> None:
    house = House(PLANS, RESPONDS, agents=TWO)
    result = result_of(await house.turn(request()))
    plan, respond = house.agents.works()
    assert (plan.run.phase, respond.run.phase) == (Phase.PLAN, Phase.RESPOND)
    assert respond.run.plan == "Be kind."
    assert (result.text, result.verdict, result.gave_up) == ("All is well.", None, False)
    assert [report.phase for report in result.phases] == [Phase.PLAN, Phase.RESPOND]


async def test_three_agents_plan_respond_and_check() -> None:
    house = House(PLANS, RESPONDS, ACCEPTS)
    result = result_of(await house.turn(request()))
    check = house.agents.works()[-1]
    assert (check.run.phase, check.run.draft) == (Phase.CHECK, "All is well.")
    assert (result.text, result.verdict) == ("All is well.", GOOD)
    assert (result.prompt_tokens, result.output_tokens, result.reply_tokens) == (120, 12, 4)


async def test_a_rejected_draft_is_revised() -> None:
    house = House(PLANS, RESPONDS, REJECTS, REVISES, ACCEPTS)
    result = result_of(await house.turn(request()))
    revise = house.agents.works()[3]
    assert (revise.run.draft, revise.run.verdict) == ("All is well.", BAD)
    assert (result.text, result.verdict, result.gave_up) == ("All is very well.", GOOD, False)


async def test_what_is_rejected_again_is_sent_all_the_same_and_says_so() -> None:
    house = House(PLANS, RESPONDS, REJECTS, REVISES, plays(Phase.CHECK, BAD))
    result = result_of(await house.turn(request()))
    assert (result.text, result.verdict, result.gave_up) == ("All is very well.", BAD, True)
    assert house.agents.all_played()


async def test_each_phase_is_told_what_time_is_left_and_what_is_cached() -> None:
    house = House(PLANS, RESPONDS, agents=TWO)
    await house.turn(request())
    plan, respond = house.agents.works()
    assert (plan.left_us, plan.warm_tokens) == (DEADLINE - 2_000, 0)
    assert (respond.left_us, respond.warm_tokens) == (DEADLINE - 102_000, 20)
    assert plan.near is None
    assert respond.near is not None, "where the plan left the conversation in a cache"


# What is shown when


@pytest.mark.parametrize(
    ("agents", "mode", "live"),
    [
        (TWO, ReplyMode.CHECK_THEN_SEND, True),
        (TWO, ReplyMode.STREAM_THEN_CHECK, True),
        (THREE, ReplyMode.CHECK_THEN_SEND, False),
        (THREE, ReplyMode.STREAM_THEN_CHECK, True),
    ],
)
async def test_the_reply_is_shown_as_it_is_made_only_when_nothing_can_overrule_it(
    agents: tuple[AgentId, ...], mode: ReplyMode, live: bool
) -> None:
    responds = SPEAKS if live else RESPONDS
    house = House(PLANS, responds, ACCEPTS, agents=agents)
    turn = house.conductor.converse(request(mode, stream=True), ARRIVED)
    first = await anext(turn)
    assert passed_us() == (100_000 if live else 300_000)
    assert first == Delta("All is " if live else "All is well.")
    events = [first, *[event async for event in turn]]
    assert joined(events) == result_of(events).text == "All is well."
    await settle()
    assert [work.stream for work in house.agents.works()[:2]] == [False, live]


@pytest.mark.parametrize("agents", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("mode", list(ReplyMode))
async def test_who_does_not_stream_gets_the_end_alone(
    agents: tuple[AgentId, ...], mode: ReplyMode
) -> None:
    house = House(PLANS, RESPONDS, ACCEPTS, agents=agents)
    (result,) = await house.turn(request(mode))
    assert isinstance(result, TurnResult)
    assert result.text == "All is well."
    await settle()
    assert not any(work.stream for work in house.agents.works())


async def test_a_revised_reply_is_shown_once_it_is_settled() -> None:
    house = House(PLANS, RESPONDS, REJECTS, REVISES, ACCEPTS)
    events = await house.turn(request(stream=True))
    assert joined(events) == "All is very well."


# What is lost goes on elsewhere


async def test_an_agent_that_dies_mid_stream_costs_no_word() -> None:
    house = House(
        PLANS,
        ["All is ", Wait(0.04), AgentGone("r1 died")],
        plays(Phase.RESPOND, "All is well.", "well."),
        agents=TWO,
    )
    events = await house.turn(request(stream=True))
    assert [work.prefix for work in house.agents.works()] == ["", "", "All is "]
    assert joined(events) == result_of(events).text == "All is well."
    assert in_ms(result_of(events))["retry"] == 40


async def test_an_agent_that_dies_unseen_is_asked_anew() -> None:
    house = House([Wait(0.04), AgentGone("p1 died")], PLANS, RESPONDS, agents=TWO)
    result = result_of(await house.turn(request()))
    assert result.text == "All is well."
    assert in_ms(result)["retry"] == 40
    assert [work.left_us for work in house.agents.works()[:2]] == [
        DEADLINE - 2_000,
        DEADLINE - 42_000,
    ]


async def test_too_many_losses_give_the_turn_up() -> None:
    dies = [[AgentGone(f"p{number} died")] for number in (1, 2, 3)]
    house = House(*dies, agents=TWO, agent_losses_max=2)
    with pytest.raises(AgentGone, match="p3 died"):
        await house.turn(request())
    assert house.agents.all_played()
    assert house.conductor.find("t1") is None


async def test_as_many_losses_as_are_allowed_do_not() -> None:
    dies = [[Wait(0.1 * number), AgentGone(f"p{number} died")] for number in (1, 2)]
    house = House(*dies, PLANS, RESPONDS, agents=TWO, agent_losses_max=2)
    result = result_of(await house.turn(request()))
    assert result.text == "All is well."
    assert in_ms(result)["retry"] == 300 + 50  # the third try is made after a pause


async def test_a_connection_that_refuses_for_a_while_does_not_end_the_turn() -> None:
    dies = [[AgentGone("p1: unavailable")] for _ in range(8)]
    house = House(*dies, PLANS, RESPONDS, agents=TWO)
    result = result_of(await house.turn(request()))
    assert result.text == "All is well."
    assert in_ms(result)["retry"] == 50 + 100 + 200 + 400 + 800 + 1_000 + 1_000


async def test_pauses_between_tries_end_with_the_deadline() -> None:
    dies = [[AgentGone("p1: unavailable")] for _ in range(8)]
    house = House(*dies, agents=TWO)
    with pytest.raises(DeadlinePassed, match="plan was not done in time"):
        await house.turn(replace(request(), deadline_us=Micros(400 * MILLISECOND)))
    assert passed_us() == (400 - 2) * MILLISECOND


# The end of patience


@pytest.mark.parametrize("stream", [False, True])
async def test_time_runs_out_counted_from_the_arrival_and_the_agent_is_stopped(
    stream: bool,
) -> None:
    house = House(PLANS, ["All is ", Never()], agents=TWO)
    with pytest.raises(DeadlinePassed, match="respond was not done in time"):
        await house.turn(request(stream=stream))
    assert passed_us() == DEADLINE - 2_000
    assert house.agents.asked.read()[-1] == ("left early", Phase.RESPOND)


async def test_a_request_that_comes_too_late_asks_nobody_for_long() -> None:
    house = House([Never()], agents=TWO)
    turn = house.conductor.converse(request(), Instant(NOW - 2 * DEADLINE))
    with pytest.raises(DeadlinePassed):
        await anext(turn)
    assert passed_us() == 0


async def test_a_caller_who_goes_away_stops_the_agent_and_leaves_nothing() -> None:
    house = House(PLANS, SPEAKS, agents=TWO)
    turn = house.conductor.converse(request(stream=True), ARRIVED)
    assert await anext(turn) == Delta("All is ")
    await turn.aclose()
    assert house.agents.asked.read()[-1] == ("left early", Phase.RESPOND)
    assert house.conductor.find("t1") is None
    assert house.recorder.asked.nothing_else()


@pytest.mark.parametrize("error", [BadRequest("no"), Overloaded("full"), DeadlinePassed("late")])
async def test_what_no_other_replica_would_mend_passes_through(error: Exception) -> None:
    house = House([error])
    with pytest.raises(type(error)) as raised:
        await house.turn(request())
    assert raised.value is error
    assert house.agents.all_played()


# The check after the reply


async def test_a_check_after_the_reply_updates_what_is_remembered_and_not_the_reply() -> None:
    house = House(PLANS, SPEAKS, [Wait(0.05), *REJECTS])
    events = await house.turn(request(ReplyMode.STREAM_THEN_CHECK, stream=True))
    replied = result_of(events)
    assert passed_us() == 200_000
    assert (replied.text, replied.verdict) == ("All is well.", None)
    assert house.conductor.find("t1") == replied

    await asyncio.sleep(1)
    known = house.conductor.find("t1")
    assert known is not None
    assert (known.text, known.verdict, known.gave_up) == ("All is well.", BAD, False)
    assert [report.phase for report in known.phases] == [Phase.PLAN, Phase.RESPOND, Phase.CHECK]
    assert known.account.post_reply_us == 150_000
    assert known.account.parts == replied.account.parts
    assert known.account.wall_us == replied.account.wall_us
    assert replied.verdict is None


@pytest.mark.parametrize("check_first", [True, False], ids=["check first", "sent first"])
async def test_the_check_and_the_last_byte_may_end_in_any_order(check_first: bool) -> None:
    house = House(PLANS, SPEAKS, ACCEPTS)
    await house.turn(request(ReplyMode.STREAM_THEN_CHECK, stream=True))
    await asyncio.sleep(1 if check_first else 0)
    house.conductor.sent("t1", Micros(3_000), Micros(7_000))
    await asyncio.sleep(1)
    known = house.conductor.find("t1")
    assert known is not None
    assert known.verdict == GOOD
    assert known.account.post_reply_us == 100_000
    assert (known.account.wall_us, known.account.client_wait_us) == (205_000, 7_000)
    told = dict(house.recorder.asked.read())
    counted = [*told["answered"].phases, *told.get("checked_late", ())[-1:]]
    assert [report.phase for report in counted] == [Phase.PLAN, Phase.RESPOND, Phase.CHECK]
    assert ("checked_late" in told) is not check_first, "each phase is counted once"


async def test_a_check_that_is_lost_is_counted_and_the_reply_stands() -> None:
    dies = [[AgentGone(f"c{number} died")] for number in range(9)]
    house = House(PLANS, SPEAKS, *dies)
    await house.turn(request(ReplyMode.STREAM_THEN_CHECK, stream=True))
    await asyncio.sleep(6)  # the pauses between nine tries
    ((what, turn_id, error),) = house.recorder.asked.read()
    assert (what, turn_id, type(error)) == ("check_lost", "t1", AgentGone)
    known = house.conductor.find("t1")
    assert known is not None
    assert (known.text, known.verdict) == ("All is well.", None)


async def test_a_check_after_the_reply_has_the_turn_s_deadline_too() -> None:
    house = House(PLANS, SPEAKS, [Never()])
    await house.turn(request(ReplyMode.STREAM_THEN_CHECK, stream=True))
    await asyncio.sleep(DEADLINE / SECOND)
    ((what, _, error),) = house.recorder.asked.read()
    assert (what, type(error)) == ("check_lost", DeadlinePassed)


# The account


async def test_the_account_closes_to_the_microsecond() -> None:
    """2 ms before the conductor, then 100 ms a phase, of which an agent's call is 3 ms."""
    plan = [Wait(0.1), done(Phase.PLAN, "Be kind.", agent_us=97_000, engine_call_us=92_000)]
    house = House(plan, RESPONDS, ACCEPTS)
    result = result_of(await house.turn(request()))
    account = result.account
    assert account.wall_us == passed_us() + 2_000 == 302_000
    assert account.solo_us == 180_000
    assert in_ms(result) == {
        "ingress": 2,
        "engine_queue": 30,
        "contention": 15,
        "refill": 45,
        "call": 3 + 2 + 5 + 5,
        "agent": 15,
    }
    assert set(account.parts) == set(PARTS)
    assert account.wall_us == account.solo_us + sum(account.parts.values())
    assert account.engine_us == 270_000
    assert account.c_coord_us == 122_000


async def test_losses_are_in_the_account_and_it_still_closes() -> None:
    responds = [Wait(0.1), done(Phase.RESPOND, "All is well.")]
    house = House(PLANS, [Wait(0.25), AgentGone("r1 died")], responds, agents=TWO)
    result = result_of(await house.turn(request()))
    account = result.account
    assert in_ms(result)["retry"] == 250
    assert account.parts["unexplained"] == 0
    assert account.wall_us == account.solo_us + sum(account.parts.values()) == 452_000


async def test_the_last_byte_closes_the_account_once() -> None:
    house = House(PLANS, RESPONDS, agents=TWO)
    before = result_of(await house.turn(request())).account
    assert house.recorder.asked.nothing_else()
    house.conductor.sent("t1", Micros(3_000), Micros(7_000))
    house.conductor.sent("t1", Micros(3_000), Micros(7_000))

    ((what, counted),) = house.recorder.asked.read()
    assert what == "answered"
    assert counted == house.conductor.find("t1")
    after = counted.account
    assert after.wall_us == before.wall_us + 3_000
    assert after.parts == {**before.parts, "ingress": 5_000}
    assert after.client_wait_us == 7_000
    assert after.wall_us == after.solo_us + sum(after.parts.values())


async def test_a_turn_that_nobody_knows_closes_nothing() -> None:
    house = House()
    house.conductor.sent("t1", Micros(3_000), Micros(0))
    assert house.conductor.find("t1") is None
    assert house.recorder.asked.nothing_else()


async def test_the_oldest_turns_are_forgotten() -> None:
    house = House(*[PLANS, RESPONDS] * 3, agents=TWO, turns_remembered_max=2)
    for turn_id in ("t1", "t2", "t3"):
        await house.turn(request(turn_id=turn_id))
    found = [house.conductor.find(turn_id) is not None for turn_id in ("t1", "t2", "t3")]
    assert found == [False, True, True]


async def test_turns_beside_each_other_do_not_meet() -> None:
    house = House(*[plays(Phase.PLAN, "Be kind.")] * 5, *[RESPONDS] * 5, agents=TWO)
    turns = [house.turn(request(turn_id=f"t{number}")) for number in range(5)]
    results = [result_of(events) for events in await asyncio.gather(*turns)]
    assert passed_us() == 200_000
    assert {result.account.wall_us for result in results} == {202_000}
    assert {result.account.parts["unexplained"] for result in results} == {0}


# What each phase is told of its turn, for whoever decides who is next


async def test_a_phase_is_told_how_old_its_turn_is_and_what_it_has_had() -> None:
    house = House(PLANS, RESPONDS, ACCEPTS)
    await house.turn(request())
    works = house.agents.works()
    assert [work.turn_us for work in works] == [2_000, 102_000, 202_000]
    assert [work.attained_us for work in works] == [0, 80_000, 160_000]


async def test_what_a_phase_and_the_rest_of_its_turn_cost_is_learned_from_those_before() -> None:
    house = House(PLANS, RESPONDS, ACCEPTS, PLANS, RESPONDS, ACCEPTS)
    await house.turn(request())
    first = house.agents.works()[0]
    assert (first.cost_us, first.rest_us) == (0, 0)
    await house.turn(request(turn_id="t2"))
    again = house.agents.works()
    assert [work.cost_us for work in again] == [80_000] * 3
    assert [work.rest_us for work in again] == [240_000, 160_000, 80_000]


async def test_a_later_turn_of_a_conversation_prefers_the_node_that_had_it() -> None:
    house = House(PLANS, RESPONDS, PLANS, RESPONDS, agents=TWO)
    await house.turn(request())
    first = house.agents.works()
    assert (first[0].near, first[1].near) == (None, N1)
    await house.turn(request(turn_id="t2"))
    again = house.agents.works()
    assert again[0].near == N1
    assert {work.prefix_key for work in (*first, *again)} == {first[0].prefix_key} != {""}


async def test_what_one_adapter_has_cached_is_of_no_use_to_another() -> None:
    planned = plays(Phase.PLAN, "Be kind.", adapter=PLANNER)
    checked = plays(Phase.CHECK, GOOD, node=N2)
    house = House(*[planned, RESPONDS, checked] * 2, adapted=(PLANNER,))
    await house.turn(request())
    plan, respond, check = house.agents.works()
    assert [work.adapter for work in (plan, respond, check)] == [PLANNER, "", ""]
    assert (respond.warm_tokens, respond.near) == (0, None), "the plan's cache is the planner's"
    assert (check.warm_tokens, check.near) == (20, N1)
    assert plan.prefix_key != respond.prefix_key == check.prefix_key
    await house.turn(request(turn_id="t2"))
    again = house.agents.works()
    assert [work.near for work in again] == [N1, N2, N1], "each where its own was last computed"
    assert [work.prefix_key for work in again] == [
        work.prefix_key for work in (plan, respond, check)
    ]


async def test_another_conversation_prefers_no_node() -> None:
    house = House(PLANS, RESPONDS, PLANS, RESPONDS, agents=TWO)
    await house.turn(request())
    other = replace(request(turn_id="t2"), conversation=(Message("user", "Who are you?"),))
    await house.turn(other)
    assert house.agents.works()[2].near is None


async def test_only_so_many_conversations_are_remembered() -> None:
    house = House(*[PLANS, RESPONDS] * 3, agents=TWO, homes_remembered_max=1)
    other = replace(request(turn_id="t2"), conversation=(Message("user", "Who are you?"),))
    for what in (request(), other, request(turn_id="t3")):
        await house.turn(what)
    assert house.agents.works()[4].near is None
