"""One replica of an agent: how its phases end for the caller, and a whole one among fakes."""

import asyncio
from typing import Any

import pytest

from coordsvc.agents.roles import ROLES, Budget
from coordsvc.agents.worker import Worker
from coordsvc.core.accounting import Delta, PhaseDone
from coordsvc.core.desk import Desk
from coordsvc.core.dialogue import RESPONDER, Phase, PhaseWork, Run
from coordsvc.core.errors import BadRequest, CoordinationError, DeadlinePassed, GrantRefused
from coordsvc.core.generation import Message, Sampling
from coordsvc.core.guard import Refusal
from coordsvc.core.messages import Finished
from coordsvc.core.terms import DeskTerms
from coordsvc.core.units import SECOND, DeskId, Micros
from coordsvc.serving.agent_replica import AgentReplica
from coordsvc.serving.desk_link import LinkedDesk
from coordsvc.serving.pool import Failure
from tests.fakes import (
    N2,
    SECOND_LIFE,
    SLOT,
    FakeDesk,
    FakeEngines,
    FakePool,
    Never,
    grant,
    joined,
    phase_done,
    ticket,
    told,
)
from tests.jumping import LoopClock, settle

G1 = grant(1)


def work(*, stream: bool = True) -> PhaseWork:
    return PhaseWork(
        turn_id="t1",
        run=Run(Phase.RESPOND, RESPONDER, plan="Be kind."),
        conversation=(Message("user", "How are you?"),),
        max_tokens=20,
        sampling=Sampling(),
        stream=stream,
        left_us=Micros(10 * SECOND),
    )


def replica(desk: FakeDesk | LinkedDesk, engines: FakeEngines) -> AgentReplica:
    demand = dict.fromkeys(Phase, SLOT)
    worker = Worker(ROLES[RESPONDER], demand, Budget(), desk, engines, LoopClock())
    return AgentReplica(lambda tenant: worker)


async def streamed(one: AgentReplica) -> list[Any]:
    return [event async for event in one.stream(work())]


async def test_a_phase_that_nobody_watches_is_answered_with_its_end() -> None:
    done = await replica(FakeDesk(G1), FakeEngines(["All ", "is well.", told()])).work(
        work(stream=False)
    )
    assert isinstance(done, PhaseDone)
    assert done.text == "All is well."


async def test_a_watched_one_is_told_piece_by_piece() -> None:
    events = await streamed(replica(FakeDesk(G1), FakeEngines(["All ", "is well.", told()])))
    assert events[:2] == [Delta("All "), Delta("is well.")]
    assert phase_done(events).text == "All is well."


@pytest.mark.parametrize("error", [BadRequest("no"), DeadlinePassed("late")])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_protocol_travels_as_a_value(
    error: CoordinationError, stream: bool
) -> None:
    one = replica(FakeDesk(G1), FakeEngines([error]))
    answer = await streamed(one) if stream else [await one.work(work(stream=False))]
    assert answer == [Failure(error)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bug_is_told_by_its_name_to_caller_and_log(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one = replica(FakeDesk(G1), FakeEngines([ValueError("what the user said")]))
    (answer,) = await streamed(one) if stream else [await one.work(work(stream=False))]
    assert isinstance(answer, Failure)
    assert str(answer.error) == "responder failed with ValueError; its log says where"
    assert "ValueError" in caplog.text
    assert "what the user said" not in caplog.text


async def test_pieces_that_came_before_an_error_are_told() -> None:
    error = BadRequest("no")
    answer = await streamed(replica(FakeDesk(G1), FakeEngines(["All ", error])))
    assert answer == [Delta("All "), Failure(error)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_goes_away_ends_the_work(stream: bool) -> None:
    desk, engines = FakeDesk(G1), FakeEngines([Never()])
    one = replica(desk, engines)
    call = asyncio.create_task(streamed(one) if stream else one.work(work(stream=False)))
    await settle()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert engines.asked.read()[-1] == ("left early", G1)
    assert desk.asked.read()[-1] == ("uncertain", G1)


async def test_a_phase_outlives_the_allocator_whose_offers_its_desk_holds() -> None:
    """Mid-stream a new allocator fences the engine: the offers of the old one are worth nothing."""
    pool = FakePool(ticket(1), ticket(2), ticket(3))
    desk = LinkedDesk(Desk(DeskId("r1"), RESPONDER, SLOT, DeskTerms()), pool, LoopClock())
    engines = FakeEngines(
        [GrantRefused(Refusal.STALE_EPOCH.value)],
        ["All is well.", told()],
    )
    desk.start()
    await settle()
    call = asyncio.create_task(streamed(replica(desk, engines)))
    await asyncio.sleep(0.5)
    assert engines.asked.count("run") == 1  # not once for each of the worthless offers

    pool.epoch = SECOND_LIFE
    pool.offer(ticket(7, node=N2, epoch=SECOND_LIFE))
    events = await call
    assert joined(events) == "All is well."
    assert phase_done(events).report.node == N2
    assert phase_done(events).report.offer_wait_us == 0.5 * SECOND

    pool.asked.read()
    await asyncio.sleep(1)
    said = [event for report in pool.told() for event in report.events]
    assert [(one.offer_id, one.late) for one in said if isinstance(one, Finished)] == [(7, False)]
    assert len(said) == 1
    desk.stop()
