"""What a conductor tells of traced turns: answered, failed, left, checked; never of others."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from coordsvc.agents.conductor import Conductor, Limits
from coordsvc.core.accounting import Delta
from coordsvc.core.dialogue import Phase, ReplyMode, Rules, TurnRequest
from coordsvc.core.errors import AgentGone, DeadlinePassed
from coordsvc.core.trace import TraceContext
from coordsvc.core.units import Micros
from tests.fakes import FakeAgents, FakeRecorder, FakeTracer, Never, Wait
from tests.jumping import LoopClock
from tests.unit.agents.test_conductor import (
    ACCEPTS,
    ARRIVED,
    DEADLINE,
    PLANS,
    RESPONDS,
    SPEAKS,
    THREE,
    TWO,
    done,
    request,
)

TRACE = TraceContext(5, 7, 9)
LATER = ReplyMode.STREAM_THEN_CHECK


class House:
    """A conductor that is asked for traces, among fakes."""

    def __init__(self, *scripts: list[Any], agents: Any = TWO, **limits: int) -> None:
        self.agents = FakeAgents(*scripts)
        self.tracer = FakeTracer()
        self.conductor = Conductor(
            self.agents,
            Rules(agents=agents),
            LoopClock(),
            FakeRecorder(),
            Limits(**limits),
            self.tracer,
        )

    async def turn(self, what: TurnRequest) -> None:
        async for _ in self.conductor.converse(what, ARRIVED):
            pass


def traced(*args: Any, **fields: Any) -> TurnRequest:
    return replace(request(*args, **fields), trace=TRACE)


async def test_a_turn_is_told_of_once_its_account_is_closed() -> None:
    house = House(PLANS, RESPONDS)
    await house.turn(traced())
    assert house.tracer.turns == []
    house.conductor.sent("t1", Micros(3_000), Micros(7_000))
    house.conductor.sent("t1", Micros(3_000), Micros(7_000))
    (told,) = house.tracer.turns
    assert (told.context, told.turn_id, told.error, told.broken) == (TRACE, "t1", "", None)
    assert told.ended - told.arrived == 205_000
    assert told.result == house.conductor.find("t1")
    assert [span.report.phase for span in told.spans] == [Phase.PLAN, Phase.RESPOND]
    assert [span.finish for span in told.spans] == ["stop", "stop"]


async def test_agents_are_asked_to_tell_of_offers_in_traced_turns_only() -> None:
    house = House(PLANS, RESPONDS, PLANS, RESPONDS)
    await house.turn(request())
    await house.turn(traced(turn_id="t2"))
    assert [work.traced for work in house.agents.works()] == [False, False, True, True]


async def test_nothing_is_told_of_other_turns() -> None:
    house = House(PLANS, SPEAKS, ACCEPTS, [DeadlinePassed("late")], agents=THREE)
    await house.turn(request(LATER))
    house.conductor.sent("t1", Micros(0), Micros(0))
    await asyncio.sleep(1)
    with pytest.raises(DeadlinePassed):
        await house.turn(request(turn_id="t2"))
    house.conductor.unsent("t2")
    assert (house.tracer.turns, house.tracer.checks) == ([], [])


async def test_a_turn_that_fails_is_told_of_with_the_phase_that_failed_it() -> None:
    house = House(PLANS, [Wait(0.3), DeadlinePassed("late")])
    with pytest.raises(DeadlinePassed):
        await house.turn(traced())
    (told,) = house.tracer.turns
    assert (told.error, told.result) == ("DeadlinePassed", None)
    assert [span.report.phase for span in told.spans] == [Phase.PLAN]
    assert told.broken is not None
    assert told.broken.run.phase is Phase.RESPOND
    assert told.broken.ended - told.broken.started == 300_000
    assert told.ended == told.broken.ended


async def test_a_client_that_leaves_in_the_middle_is_told_of() -> None:
    house = House(PLANS, SPEAKS)
    turn = house.conductor.converse(traced(stream=True), ARRIVED)
    assert await anext(turn) == Delta("All is ")
    await turn.aclose()
    (told,) = house.tracer.turns
    assert told.error == "client_gone"
    assert told.broken is not None
    assert told.broken.run.phase is Phase.RESPOND


async def test_one_that_leaves_between_phases_broke_none() -> None:
    house = House(PLANS, RESPONDS, ACCEPTS, agents=THREE)
    turn = house.conductor.converse(traced(stream=True), ARRIVED)
    assert await anext(turn) == Delta("All is well.")
    await turn.aclose()
    (told,) = house.tracer.turns
    assert (told.error, told.broken, len(told.spans)) == ("client_gone", None, 3)


async def test_so_is_one_that_is_cancelled_while_an_agent_thinks() -> None:
    house = House([Never()])
    task = asyncio.create_task(house.turn(traced()))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait({task})
    assert [told.error for told in house.tracer.turns] == ["client_gone"]


async def test_and_one_that_leaves_before_the_last_byte() -> None:
    house = House(PLANS, RESPONDS)
    await house.turn(traced())
    house.conductor.unsent("t1")
    house.conductor.unsent("t1")
    (told,) = house.tracer.turns
    assert (told.error, len(told.spans)) == ("client_gone", 2)
    assert told.result is not None
    assert told.ended - told.arrived == told.result.account.wall_us


@pytest.mark.parametrize("check_first", [True, False], ids=["check first", "sent first"])
async def test_a_check_after_the_reply_is_told_of_apart(check_first: bool) -> None:
    house = House(PLANS, SPEAKS, ACCEPTS, agents=THREE)
    await house.turn(traced(LATER, stream=True))
    await asyncio.sleep(1 if check_first else 0)
    house.conductor.sent("t1", Micros(0), Micros(0))
    await asyncio.sleep(1)
    (told,) = house.tracer.turns
    assert [span.report.phase for span in told.spans] == [Phase.PLAN, Phase.RESPOND]
    (check,) = house.tracer.checks
    assert (check.context, check.number, check.error) == (TRACE, 2, "")
    assert check.span is not None
    assert check.span.report.phase is Phase.CHECK
    assert check.span.started >= told.spans[-1].ended


async def test_a_check_that_is_lost_is_told_of_too() -> None:
    dies = [[AgentGone(f"c{number} died")] for number in range(2)]
    house = House(PLANS, SPEAKS, *dies, agents=THREE, agent_losses_max=1)
    await house.turn(traced(LATER, stream=True))
    await asyncio.sleep(1)
    (check,) = house.tracer.checks
    assert (check.error, check.span, check.number) == ("AgentGone", None, 2)
    assert check.broken is not None
    assert check.broken.run.phase is Phase.CHECK


async def test_turns_that_nobody_ever_sends_are_forgotten() -> None:
    house = House(*[PLANS, RESPONDS] * 3, turns_remembered_max=2)
    for turn_id in ("t1", "t2", "t3"):
        await house.turn(traced(turn_id=turn_id))
    assert len(house.conductor._traces._open) == 2
    house.conductor.unsent("t1")
    assert house.tracer.turns == []


async def test_losses_of_agents_are_in_the_phase_s_span() -> None:
    house = House([Wait(0.25), AgentGone("p1 died")], PLANS, RESPONDS)
    await house.turn(traced())
    house.conductor.sent("t1", Micros(0), Micros(0))
    (told,) = house.tracer.turns
    assert told.spans[0].retry_us == 250_000


async def test_a_turn_whose_time_runs_out_ends_there() -> None:
    house = House(PLANS, [Never()])
    with pytest.raises(DeadlinePassed):
        await house.turn(traced())
    (told,) = house.tracer.turns
    assert told.ended - told.arrived == DEADLINE


async def test_a_tracer_is_not_needed() -> None:
    agents = FakeAgents(PLANS, RESPONDS, [done(Phase.PLAN), DeadlinePassed("late")])
    conductor = Conductor(agents, Rules(agents=TWO), LoopClock(), FakeRecorder())
    async for _ in conductor.converse(traced(), ARRIVED):
        pass
    conductor.sent("t1", Micros(0), Micros(0))
    assert conductor.find("t1") is not None
