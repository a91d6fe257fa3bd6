"""One engine replica: what its guard lets in, when a grant ends, and what it says of itself."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from coordsvc.core.errors import BadRequest, ContextTooLong, CoordinationError, EngineBroken
from coordsvc.core.fleet import WHOLE
from coordsvc.core.generation import Chunk, GenerationRequest, Message
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.scaling_report import ALIVE, BUSY, PHASES, REPORTS
from coordsvc.core.units import SECOND, OfferId
from coordsvc.serving.engine_replica import EngineReplica
from coordsvc.serving.guarded import REJOIN_S
from coordsvc.serving.pool import Failure, NodeCard, Watched
from tests.fakes import FIRST, N1, SECOND_LIFE, FakeEngine, FakePool, Never, Wait, grant, told
from tests.jumping import LoopClock, passed_us, settle

TWO_SLOTS = Resources(cpu_milli=2_000)
REQUEST = GenerationRequest(messages=(Message("user", "How are you?"),), max_new_tokens=20)
DONE = told()
SPEAKS = ("All ", "is ", Chunk("well.", DONE))


@asynccontextmanager
async def replica(
    engine: FakeEngine, pool: FakePool | None = None, *, guarded: bool = True, fenced: bool = True
) -> AsyncGenerator[EngineReplica]:
    """A replica at work, stopped in the end."""
    one = EngineReplica(
        engine, N1, TWO_SLOTS, {"zone": "a"}, pool or FakePool(), LoopClock(), guarded=guarded
    )
    await one.start()
    if fenced:
        assert await one.fence(FIRST, OfferId(0)) == ()
    engine.asked.read()
    yield one
    await one.stop()


async def streamed(one: EngineReplica, under: Grant) -> list[Any]:
    return [piece async for piece in one.stream(REQUEST, under)]


async def counted(one: EngineReplica, *what: str) -> tuple[Any, ...]:
    journal = await one.journal()
    return tuple(journal[each] for each in what)


# Work


async def test_granted_work_runs_and_its_grant_ends() -> None:
    engine = FakeEngine(SPEAKS)
    async with replica(engine) as one:
        assert await one.run(REQUEST, grant(1)) == Chunk("All is well.", DONE)
        assert engine.asked.read() == [("generate", REQUEST)]
        assert await counted(one, "admitted", "finished", "running") == (1, 1, 0)


async def test_it_is_streamed_as_it_is_made() -> None:
    async with replica(FakeEngine(SPEAKS)) as one:
        assert await streamed(one, grant(1)) == [Chunk("All "), Chunk("is "), SPEAKS[-1]]


async def test_a_grant_has_ended_before_anybody_hears_that_it_has() -> None:
    """Its desk may use it again at once."""
    async with replica(FakeEngine(SPEAKS)) as one, aclosing(one.stream(REQUEST, grant(1))) as reply:
        async for piece in reply:
            ended = piece.report is not None
            assert await counted(one, "running") == (0 if ended else 1,)
        assert await one.run(REQUEST, grant(1, use=2)) == Chunk("All is well.", DONE)


async def test_an_engine_that_ends_without_a_report_is_broken() -> None:
    async with replica(FakeEngine(["All "])) as one:
        with pytest.raises(EngineBroken, match="without a report"):
            await one.run(REQUEST, grant(1))
        assert await counted(one, "running") == (0,)


# What the guard refuses


@pytest.mark.parametrize("stream", [False, True])
async def test_before_it_is_fenced_an_engine_runs_nothing(stream: bool) -> None:
    engine = FakeEngine()
    async with replica(engine, fenced=False) as one:
        refusal = await streamed(one, grant(1)) if stream else [await one.run(REQUEST, grant(1))]
        assert refusal == [Refusal.STALE_EPOCH]
        assert engine.asked.nothing_else()


async def test_work_of_an_earlier_epoch_is_refused_once_a_later_one_has_fenced() -> None:
    async with replica(FakeEngine(SPEAKS)) as one:
        assert await one.fence(SECOND_LIFE, OfferId(0)) == ()
        assert await one.run(REQUEST, grant(1)) is Refusal.STALE_EPOCH
        assert isinstance(await one.run(REQUEST, grant(2, epoch=SECOND_LIFE)), Chunk)
        assert await one.fence(FIRST, OfferId(0)) is None


async def test_what_was_offered_before_the_engine_was_lost_sight_of_is_refused() -> None:
    async with replica(FakeEngine(SPEAKS)) as one:
        await one.fence(FIRST, OfferId(5))
        assert await one.run(REQUEST, grant(5)) is Refusal.VOIDED
        assert isinstance(await one.run(REQUEST, grant(6)), Chunk)


async def test_voided_offers_never_start_and_running_ones_go_on() -> None:
    async with replica(FakeEngine(["All ", Never()])) as one:
        reply = one.stream(REQUEST, grant(1))
        await anext(reply)
        assert await one.void((OfferId(1), OfferId(2))) == {1: True, 2: False}
        assert await one.run(REQUEST, grant(2)) is Refusal.VOIDED
        assert await counted(one, "running") == (1,)
        await reply.aclose()


async def test_more_than_fits_is_a_broken_reservation() -> None:
    async with replica(FakeEngine(["All ", Never()])) as one:
        replies = [one.stream(REQUEST, grant(number)) for number in (1, 2)]
        for reply in replies:
            await anext(reply)
        assert await one.run(REQUEST, grant(3)) is Refusal.NO_ROOM
        assert await counted(one, "running", "in_engine", "broken_reservations") == (2, 2, 1)
        for reply in replies:
            await reply.aclose()


async def test_an_unguarded_engine_runs_all_and_asks_nobody() -> None:
    pool = FakePool()
    async with replica(FakeEngine(SPEAKS), pool, guarded=False, fenced=False) as one:
        assert await one.run(REQUEST, grant(1)) == Chunk("All is well.", DONE)
        assert await one.run(REQUEST, grant(1)) == Chunk("All is well.", DONE)
        await asyncio.sleep(3)
        assert pool.asked.nothing_else()


# However it ends, the grant ends


async def test_a_caller_who_goes_away_ends_the_work_and_the_grant() -> None:
    engine = FakeEngine(SPEAKS)
    async with replica(engine) as one:
        reply = one.stream(REQUEST, grant(1))
        assert await anext(reply) == Chunk("All ")
        assert await counted(one, "running") == (1,)
        await reply.aclose()
        assert engine.asked.read()[-1] == ("left early",)
        assert await counted(one, "finished", "running", "in_engine") == (1, 0, 0)


async def test_a_call_that_is_cancelled_ends_them_too() -> None:
    engine = FakeEngine([Never()])
    async with replica(engine) as one:
        call = asyncio.create_task(one.run(REQUEST, grant(1)))
        await settle()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert engine.asked.read()[-1] == ("left early",)
        assert await counted(one, "finished", "running") == (1, 0)


@pytest.mark.parametrize(
    "error", [BadRequest("no"), ContextTooLong("too long"), EngineBroken("no thread")]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_protocol_travels_as_a_value_and_ends_the_grant(
    error: CoordinationError, stream: bool
) -> None:
    async with replica(FakeEngine(["All ", error])) as one:
        if stream:
            assert await streamed(one, grant(1)) == [Chunk("All "), Failure(error)]
        else:
            assert await one.run(REQUEST, grant(1)) == Failure(error)
        assert await counted(one, "finished", "running") == (1, 0)


async def test_a_bug_in_an_engine_is_told_by_its_name_and_ends_the_grant(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with replica(FakeEngine([ValueError("what the user said")])) as one:
        answer = await one.run(REQUEST, grant(1))
        assert isinstance(answer, Failure)
        assert str(answer.error).startswith("an engine failed with ValueError")
        assert await counted(one, "finished", "running") == (1, 0)
    assert "ValueError" in caplog.text
    assert "what the user said" not in caplog.text


# What it says of itself


async def test_a_watch_tells_what_runs_and_what_has_ended() -> None:
    async with replica(FakeEngine(["All ", Wait(10), DONE], SPEAKS)) as one:
        reply = one.stream(REQUEST, grant(1))
        await anext(reply)
        await one.run(REQUEST, grant(2))
        first = await one.watch(FIRST, 1.0)
        assert first.computed is not None
        assert first.computed.total == SECOND * WHOLE // 2, "one of two slots, all the second"
        assert replace(first, computed=None) == Watched(running=frozenset({OfferId(1)}))
        second = await one.watch(FIRST, 1.0)
        assert replace(second, computed=None) == Watched(
            running=frozenset({OfferId(1)}), finished=(OfferId(2),)
        )
        assert (await one.watch(FIRST, 1.0)).finished == ()
        assert passed_us() == 3_000_000
        await reply.aclose()


async def test_a_watch_of_an_earlier_epoch_is_told_that_it_is_over() -> None:
    async with replica(FakeEngine()) as one:
        watching = asyncio.create_task(one.watch(FIRST, 1.0))
        await settle()
        await one.fence(SECOND_LIFE, OfferId(0))
        assert await watching == Watched(superseded=True)


async def test_a_watch_tells_of_broken_reservations() -> None:
    async with replica(FakeEngine(["All ", Never()])) as one:
        replies = [one.stream(REQUEST, grant(number)) for number in (1, 2)]
        for reply in replies:
            await anext(reply)
        await one.run(REQUEST, grant(3))
        assert (await one.watch(FIRST, 1.0)).broken_reservations == 1
        for reply in replies:
            await reply.aclose()


async def test_its_health_is_its_engine_s() -> None:
    engine = FakeEngine()
    async with replica(engine) as one:
        one.check_health()
        engine.broken = "its thread died"
        with pytest.raises(EngineBroken, match="its thread died"):
            one.check_health()


async def test_it_tells_autoscaling_how_much_of_it_was_taken_so_far() -> None:
    """One of two slots for a second, and then neither for another."""
    async with replica(FakeEngine([Wait(1.0), Chunk("well.", DONE)])) as one:
        await one.run(REQUEST, grant(1))
        await asyncio.sleep(1)
        assert await one.record_autoscaling_stats() == {
            REPORTS: 1,
            ALIVE: 2 * SECOND,
            BUSY: SECOND // 2,
            PHASES: SECOND,
        }


# The pool


async def test_a_replica_asks_to_be_joined_for_as_long_as_nobody_watches() -> None:
    pool = FakePool()
    async with replica(FakeEngine(), pool) as one:
        await settle()
        card = NodeCard(
            node=N1,
            capacity=TWO_SLOTS,
            attributes={"model": "fake-1", "engine": "fake", "zone": "a"},
        )
        assert pool.asked.read() == [("join", card)]
        await asyncio.sleep(4 * REJOIN_S)
        assert pool.asked.read()[-1] == ("join", card)

        watching = asyncio.create_task(one.watch(FIRST, 60.0))
        await settle()
        pool.asked.read()
        await asyncio.sleep(59)
        assert pool.asked.nothing_else()

        watching.cancel()
        await asyncio.sleep(2 * REJOIN_S)
        assert pool.asked.read()[0] == ("join", card)


async def test_a_join_that_hangs_is_given_up_and_made_again() -> None:
    pool = FakePool()
    pool.deaf = True
    async with replica(FakeEngine(), pool):
        await asyncio.sleep(4 * REJOIN_S)
        assert pool.asked.count("join") == 2


async def test_a_stopped_replica_asks_nobody_and_its_engine_is_stopped() -> None:
    pool, engine = FakePool(), FakeEngine()
    async with replica(engine, pool):
        pass
    assert engine.asked.read() == [("stop",)]
    await settle()
    pool.asked.read()
    await asyncio.sleep(10)
    assert pool.asked.nothing_else()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Preemption


@pytest.mark.parametrize("stream", [False, True])
async def test_preempted_work_ends_and_its_caller_hears_why(stream: bool) -> None:
    engine = FakeEngine(["All ", Never()])
    async with replica(engine) as one:
        asked = streamed(one, grant(1)) if stream else one.run(REQUEST, grant(1))
        running = asyncio.create_task(asked)
        await settle()
        await one.preempt(OfferId(1))
        heard = await running
        assert heard == ([Chunk("All "), Refusal.PREEMPTED] if stream else Refusal.PREEMPTED)
        assert await counted(one, "running", "in_engine", "finished") == (0, 0, 1)
        assert not running.cancelled()


async def test_to_preempt_what_does_not_run_changes_nothing() -> None:
    async with replica(FakeEngine(SPEAKS)) as one:
        await one.preempt(OfferId(1))
        assert isinstance(await one.run(REQUEST, grant(1)), Chunk)
        await one.preempt(OfferId(1))
        assert isinstance(await one.run(REQUEST, grant(2)), Chunk)


async def test_one_is_preempted_and_the_other_goes_on() -> None:
    async with replica(FakeEngine(["All ", Wait(1), told()])) as one:
        first, second = (asyncio.create_task(one.run(REQUEST, grant(n))) for n in (1, 2))
        await settle()
        await one.preempt(OfferId(1))
        assert await first is Refusal.PREEMPTED
        assert isinstance(await second, Chunk)


# What it has cached


async def test_a_watch_tells_of_conversations_computed_since_the_last() -> None:
    async with replica(FakeEngine(SPEAKS)) as one:
        await one.run(replace(REQUEST, prefix_key="dialogue"), grant(1))
        assert (await one.watch(FIRST, 1.0)).cached == {"dialogue"}
        assert (await one.watch(FIRST, 1.0)).cached is None
