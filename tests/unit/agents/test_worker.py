"""An agent at work: one phase, through whatever dies on the way, and what it costs."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from coordsvc.agents.roles import ROLES, Budget
from coordsvc.agents.worker import Worker
from coordsvc.core.accounting import Delta, PhaseEvent
from coordsvc.core.dialogue import (
    CHECKER,
    PLANNER,
    RESPONDER,
    Phase,
    PhaseWork,
    Run,
    Verdict,
)
from coordsvc.core.errors import (
    BadRequest,
    ContextTooLong,
    DeadlinePassed,
    EngineBroken,
    FatalError,
    GrantRefused,
    NodeGone,
    Overloaded,
)
from coordsvc.core.generation import FinishReason, Message, Sampling
from coordsvc.core.guard import Refusal
from coordsvc.core.units import SECOND, AgentId, Instant, Micros, TurnId
from coordsvc.core.waits import Wait as PhaseWaits
from tests.fakes import (
    N1,
    N2,
    SLOT,
    FakeDesk,
    FakeEngines,
    Never,
    Wait,
    grant,
    joined,
    phase_done,
    told,
)
from tests.jumping import NOW, LoopClock, passed_us, settle

G1, G2, G3 = grant(1), grant(2, node=N2), grant(3, node=N2)
LEFT = Micros(10 * SECOND)


def work(phase: Phase = Phase.RESPOND, *, stream: bool = True, prefix: str = "") -> PhaseWork:
    agent = {Phase.PLAN: PLANNER, Phase.CHECK: CHECKER}.get(phase, RESPONDER)
    return PhaseWork(
        turn_id="t1",
        run=Run(phase, agent, plan="Be kind.", draft="All is lost."),
        conversation=(Message("user", "How are you?"),),
        max_tokens=20,
        sampling=Sampling(),
        stream=stream,
        left_us=LEFT,
        prefix=prefix,
    )


def worker(desk: FakeDesk, engines: FakeEngines, agent: AgentId = RESPONDER) -> Worker:
    demand = dict.fromkeys(Phase, SLOT)
    return Worker(ROLES[agent], demand, Budget(), desk, engines, LoopClock())


async def events_of(one: Worker, what: PhaseWork) -> list[PhaseEvent]:
    return [event async for event in one.work(what)]


def asked_of(desk: FakeDesk) -> list[tuple[object, ...]]:
    """What the desk was asked, without how much time was left."""
    return [line[:3] for line in desk.asked.read()]


TAKE = ("take", SLOT, None)


# A phase as it should be


async def test_with_an_offer_in_hand_a_phase_starts_at_once_and_ends_its_grant() -> None:
    desk, engines = FakeDesk(G1), FakeEngines([Wait(0.1), "All is well.", told()])
    done = phase_done(await events_of(worker(desk, engines), work(stream=False)))

    assert desk.asked.read() == [("take", SLOT, None, LEFT), ("finished", G1)]
    (run,) = engines.asked.read()
    assert (run[0], run[2], run[3]) == ("run", G1, False)
    assert engines.asked.nothing_else()
    assert (done.text, done.finish, done.verdict) == ("All is well.", "stop", None)
    assert (done.report.node, done.report.attempts) == (N1, 1)
    assert done.report.offer_wait_us == 0


async def test_pieces_are_passed_on_as_they_are_made_and_only_if_somebody_watches() -> None:
    script = ["All ", Wait(1), "is well.", told()]
    watched = worker(FakeDesk(G1), FakeEngines(script)).work(work())
    assert await anext(watched) == Delta("All ")
    assert passed_us() == 0
    assert await anext(watched) == Delta("is well.")
    assert passed_us() == SECOND
    assert phase_done([e async for e in watched]).text == "All is well."

    unseen = await events_of(
        worker(FakeDesk(G1), FakeEngines(script)), work(Phase.PLAN, stream=False)
    )
    assert phase_done(unseen).text == "All is well."
    assert len(unseen) == 1


async def test_the_last_chunk_may_carry_text_and_an_empty_one_is_no_piece() -> None:
    engines = FakeEngines(["All is", "", " well.", told(FinishReason.LENGTH)])
    events = await events_of(worker(FakeDesk(G1), engines), work())
    assert events[:-1] == [Delta("All is"), Delta(" well.")]
    assert phase_done(events).finish == "length"


async def test_what_an_engine_tells_of_its_work_is_passed_on() -> None:
    engines = FakeEngines(["All is well.", told(cached_tokens=17, emulated=True)])
    asked = replace(work(), adapter=RESPONDER)
    report = phase_done(await events_of(worker(FakeDesk(G1), engines), asked)).report
    assert report.adapter == RESPONDER
    assert (report.prompt_tokens, report.cached_tokens, report.shared_tokens) == (40, 17, 20)
    assert (report.output_tokens, report.emulated) == (4, True)
    assert (report.queue_us, report.compute_us) == (30_000, 70_000)
    assert (report.solo_us, report.refill_us) == (50_000, 5_000)
    assert (report.phase, report.agent) == (Phase.RESPOND, RESPONDER)


# What is lost goes on elsewhere


async def test_an_engine_that_dies_mid_stream_costs_no_word() -> None:
    desk = FakeDesk(G1, G2)
    engines = FakeEngines(
        [Wait(0.04), "All ", "is ", NodeGone("n1 died")],
        [Wait(0.1), "well.", told()],
    )
    events = await events_of(worker(desk, engines), work())

    assert engines.prefixes() == ["", "All is "]
    assert joined(events) == phase_done(events).text == "All is well."
    assert asked_of(desk) == [TAKE, ("uncertain", G1), ("node_lost", N1), TAKE, ("finished", G2)]
    report = phase_done(events).report
    assert (report.attempts, report.node) == (2, N2)
    assert (report.retry_us, report.engine_call_us) == (40_000, 100_000)


async def test_each_loss_adds_to_the_prefix_also_to_one_that_a_dead_replica_left() -> None:
    engines = FakeEngines(
        [Wait(0.03), "is ", NodeGone("n1 died")],
        [Wait(0.02), NodeGone("n2 died")],
        ["well.", told()],
    )
    events = await events_of(worker(FakeDesk(G1, G2, G3), engines), work(prefix="All "))
    assert engines.prefixes() == ["All ", "All is ", "All is "]
    assert joined(events) == "is well."
    assert phase_done(events).text == "All is well."
    assert phase_done(events).report.retry_us == 50_000


async def test_nothing_is_said_twice_where_nobody_watches() -> None:
    """In one piece or not at all: an engine that dies before its answer has said nothing."""
    engines = FakeEngines([Wait(1), NodeGone("n1 died")], ["All is well.", told()])
    done = phase_done(await events_of(worker(FakeDesk(G1, G2), engines), work(stream=False)))
    assert engines.prefixes() == ["", ""]
    assert done.text == "All is well."


@pytest.mark.parametrize("refusal", list(Refusal))
async def test_a_refused_grant_is_told_to_the_desk_and_another_taken(refusal: Refusal) -> None:
    desk = FakeDesk(G1, G2)
    engines = FakeEngines([GrantRefused(refusal.value)], ["All is well.", told()])
    done = phase_done(await events_of(worker(desk, engines), work()))
    assert asked_of(desk) == [
        TAKE,
        ("uncertain", G1),
        ("refused", G1, refusal),
        TAKE,
        ("finished", G2),
    ]
    assert (done.text, done.report.attempts) == ("All is well.", 2)


# The end of patience


async def test_time_runs_out_while_no_offer_comes() -> None:
    desk, engines = FakeDesk(), FakeEngines()
    with pytest.raises(DeadlinePassed):
        await events_of(worker(desk, engines), work())
    assert passed_us() == LEFT
    assert asked_of(desk) == [TAKE]
    assert engines.asked.nothing_else()


async def test_time_runs_out_while_the_engine_works_and_it_is_stopped() -> None:
    desk, engines = FakeDesk(Wait(4), G1), FakeEngines(["All ", Never()])
    seen: list[PhaseEvent] = []
    with pytest.raises(DeadlinePassed, match="respond was not done in time"):
        seen.extend([event async for event in worker(desk, engines).work(work())])
    assert passed_us() == LEFT
    assert engines.asked.read()[-1] == ("left early", G1)
    assert asked_of(desk) == [TAKE, ("uncertain", G1)]


async def test_a_loss_does_not_start_time_anew() -> None:
    desk = FakeDesk(G1)
    with pytest.raises(DeadlinePassed):
        await events_of(
            worker(desk, FakeEngines([Wait(7), NodeGone("n1 died")])), work(stream=False)
        )
    assert [line[3] for line in desk.asked.read() if line[0] == "take"] == [LEFT, 3 * SECOND]
    assert passed_us() == LEFT


async def test_a_caller_who_goes_away_stops_the_engine_and_its_grant_is_uncertain() -> None:
    desk, engines = FakeDesk(G1), FakeEngines(["All ", "is ", "well.", told()])
    reply = worker(desk, engines).work(work())
    assert await anext(reply) == Delta("All ")
    await reply.aclose()
    assert engines.asked.read()[-1] == ("left early", G1)
    assert asked_of(desk) == [TAKE, ("uncertain", G1)]


async def test_a_caller_who_is_cancelled_while_the_engine_thinks_is_no_different() -> None:
    desk, engines = FakeDesk(G1), FakeEngines([Never()])
    caller = asyncio.create_task(events_of(worker(desk, engines), work(stream=False)))
    await settle()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert engines.asked.read()[-1] == ("left early", G1)
    assert asked_of(desk) == [TAKE, ("uncertain", G1)]


# Errors that another engine would not mend


@pytest.mark.parametrize(
    "error",
    [BadRequest("no"), ContextTooLong("too long"), EngineBroken("no thread")],
    ids=lambda error: type(error).__name__,
)
async def test_a_final_error_passes_through_and_the_grant_is_finished(error: FatalError) -> None:
    desk, engines = FakeDesk(G1), FakeEngines([error])
    with pytest.raises(type(error)) as raised:
        await events_of(worker(desk, engines), work())
    assert raised.value is error
    assert asked_of(desk) == [TAKE, ("finished", G1)]


async def test_a_full_queue_passes_through_and_nobody_knows_what_became_of_the_grant() -> None:
    desk, engines = FakeDesk(G1), FakeEngines([Overloaded("full")])
    with pytest.raises(Overloaded):
        await events_of(worker(desk, engines), work())
    assert asked_of(desk) == [TAKE, ("uncertain", G1)]


# What it cost


async def test_the_parts_of_a_phase_add_up() -> None:
    """200 ms without an offer, 60 lost with an engine, 40 without an offer, 100 at work."""
    desk = FakeDesk(Wait(0.2), G1, Wait(0.04), G2)
    engines = FakeEngines(
        [Wait(0.06), "All ", NodeGone("n1 died")],
        [Wait(0.03), "is ", Wait(0.07), "well.", told()],
    )
    report = phase_done(await events_of(worker(desk, engines), work())).report
    assert (report.offer_wait_us, report.retry_us, report.engine_call_us) == (
        240_000,
        60_000,
        100_000,
    )
    assert report.agent_us == 400_000 == passed_us()
    assert report.agent_us == report.offer_wait_us + report.retry_us + report.engine_call_us


# The checker


def judged(*said: str) -> Iterable[object]:
    return [*said, told()]


async def test_a_checker_s_answer_is_read_as_a_verdict() -> None:
    engines = FakeEngines(judged('{"accept": true, ', '"score": 8, "reason": "clear"}'))
    checker = worker(FakeDesk(G1), engines, CHECKER)
    done = phase_done(await events_of(checker, work(Phase.CHECK, stream=False)))
    assert done.verdict == Verdict(accept=True, score=8, reason="clear")


async def test_a_checker_s_unreadable_answer_rejects() -> None:
    checker = worker(FakeDesk(G1), FakeEngines(judged("Looks fine to me!")), CHECKER)
    verdict = phase_done(await events_of(checker, work(Phase.CHECK, stream=False))).verdict
    assert verdict is not None
    assert not verdict.accept
    assert "could not be read" in verdict.reason


# What it tells of a phase that waits, and of its end


async def test_a_wait_says_what_is_known_of_its_turn() -> None:
    desk, engines = FakeDesk(G1), FakeEngines(["All is well.", told()])
    told_of = replace(
        work(),
        turn_us=Micros(300_000),
        attained_us=Micros(70_000),
        cost_us=Micros(40_000),
        rest_us=Micros(90_000),
        near=N2,
        prefix_key="dialogue",
    )
    await events_of(worker(desk, engines), told_of)
    assert desk.waits == [
        PhaseWaits(
            turn=TurnId("t1"),
            asked=NOW,
            arrived=Instant(NOW - 300_000),
            deadline=Instant(NOW + LEFT),
            attained_us=Micros(70_000),
            cost_us=Micros(40_000),
            rest_us=Micros(90_000),
            near=N2,
            prefix="dialogue",
        )
    ]
    assert engines.asked.read()[0][1].prefix_key == "dialogue"


async def test_an_end_says_its_engine_time_its_phase_and_that_it_was_in_time() -> None:
    desk, engines = FakeDesk(G1), FakeEngines(["All is well.", told()])
    await events_of(worker(desk, engines), work())
    assert desk.ends == [(Micros(70_000), False)]
    assert desk.phases == ["respond"]
    assert type(desk.phases[0]) is str, "a line of the decision log has no other texts"


async def test_a_preempted_phase_goes_on_elsewhere_from_what_it_had() -> None:
    preempted = GrantRefused(Refusal.PREEMPTED)
    desk = FakeDesk(G1, G2)
    engines = FakeEngines(["All is ", preempted], ["well.", told()])
    done = phase_done(await events_of(worker(desk, engines), work()))
    assert done.text == "All is well."
    assert engines.prefixes() == ["", "All is "]
    assert [line[0] for line in desk.asked.read()][-1] == "finished"


async def test_a_traced_phase_tells_of_each_offer_it_took() -> None:
    desk = FakeDesk(Wait(0.2), G1, Wait(0.1), G2, G3)
    engines = FakeEngines(
        [Wait(0.5), NodeGone("n1 died")],
        [Wait(0.01), GrantRefused(Refusal.NO_ROOM)],
        [Wait(1), "All is well.", told()],
    )
    report = phase_done(await events_of(worker(desk, engines), replace(work(), traced=True))).report
    assert [
        (one.offer_id, one.node, one.wait_us, one.taken_us, one.ended_us, one.lost)
        for one in report.offers
    ] == [
        (1, N1, 200_000, 200_000, 700_000, "node_gone"),
        (2, N2, 100_000, 800_000, 810_000, "no_room"),
        (3, N2, 0, 810_000, 1_810_000, ""),
    ]
    assert sum(one.wait_us for one in report.offers) == report.offer_wait_us
    assert report.offers[-1].ended_us - report.offers[-1].taken_us == report.engine_call_us
    assert {(one.epoch, one.use) for one in report.offers} == {(1, 1)}


async def test_another_phase_tells_of_none() -> None:
    engines = FakeEngines([NodeGone("n1 died")], ["All is well.", told()])
    report = phase_done(await events_of(worker(FakeDesk(G1, G2), engines), work())).report
    assert (report.attempts, report.offers) == (2, ())
