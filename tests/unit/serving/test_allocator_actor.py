"""The allocator behind its mailbox: desks that listen, engines that are watched, time."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from coordsvc.core.allocation.issuing import IDS_PER_EPOCH_BITS
from coordsvc.core.computed import Computing
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskEvent,
    Finished,
    GangWanted,
    Member,
)
from coordsvc.core.offers import Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, AgentId, DeskId, GangId, Micros, NodeId, OfferId
from coordsvc.serving.allocator_actor import DESK_SILENT_S, TICK_S, WATCH_S, AllocatorActor
from coordsvc.serving.pool import NodeCard, Watched
from coordsvc.telemetry.pool import PoolSnapshot
from tests.fakes import FIRST, N1, N2, SLOT, FakeLink, grant
from tests.jumping import LoopClock, passed_us, settle

TERMS = Terms(offer_lasts_us=Micros(10 * SECOND), offer_margin_us=Micros(SECOND))
PLANNER, RESPONDER = AgentId("planner"), AgentId("responder")


def card(node: NodeId = N1, slots: int = 4) -> NodeCard:
    return NodeCard(
        node=node, capacity=Resources(cpu_milli=1_000 * slots), attributes={"engine": "fake"}
    )


def report(
    *events: DeskEvent, desk: str = "p1", agent: AgentId = PLANNER, waiting: int = 0, ahead: int = 0
) -> DeskReport:
    return DeskReport(
        desk=DeskId(desk),
        agent=agent,
        bundle=SLOT,
        waiting=waiting,
        ahead=ahead,
        events=tuple(events),
    )


class Pool:
    """An allocator in its first life, with fake engines to reach."""

    def __init__(self) -> None:
        self.links: dict[NodeId, FakeLink] = {N1: FakeLink(), N2: FakeLink()}
        self.reached: list[NodeCard] = []
        self.shown: list[PoolSnapshot] = []
        self.actor = AllocatorActor(FIRST, TERMS, LoopClock(), self._link, self.shown.append)

    def _link(self, card: NodeCard) -> FakeLink:
        self.reached.append(card)
        return self.links[card.node]

    async def with_nodes(self, *cards: NodeCard) -> "Pool":
        for each in cards:
            await self.actor.join(each)
        await settle()
        return self

    async def tell(self, what: DeskReport) -> DeskReply:
        return await self.actor.exchange(what, 0)

    async def free(self, node: NodeId = N1) -> str:
        return str((await self.actor.status())["nodes"][node]["free"])


def numbers(tickets: Iterable[Ticket]) -> list[int]:
    """Return the offers' numbers within their epoch."""
    return numbers_of(ticket.offer_id for ticket in tickets)


def numbers_of(offer_ids: Iterable[OfferId]) -> list[int]:
    return [offer_id - (FIRST.n << IDS_PER_EPOCH_BITS) for offer_id in offer_ids]


# Desks


async def test_a_desk_that_asks_is_offered_what_there_is() -> None:
    pool = await Pool().with_nodes(card())
    reply = await pool.tell(report(ahead=2))
    assert reply.epoch == FIRST
    assert numbers(reply.offers) == [1, 2]
    one = reply.offers[0]
    assert (one.node, one.bundle, one.lasts) == (N1, SLOT, 10 * SECOND)
    assert one.attributes == {"engine": "fake"}


async def test_an_offer_is_told_once() -> None:
    pool = await Pool().with_nodes(card())
    assert len((await pool.tell(report(ahead=2))).offers) == 2
    assert await pool.tell(report(ahead=2)) == DeskReply(epoch=FIRST), "and nobody waits"


async def test_a_listening_desk_is_answered_as_soon_as_there_is_an_offer() -> None:
    pool = Pool()
    listening = asyncio.create_task(pool.actor.exchange(report(waiting=1), 2.0))
    await asyncio.sleep(0.7)
    assert not listening.done()
    await pool.with_nodes(card())
    assert numbers(listening.result().offers) == [1]
    assert passed_us() == 700_000


async def test_a_listening_desk_without_news_is_answered_when_its_time_is_over() -> None:
    reply = await Pool().actor.exchange(report(waiting=1), 2.0)
    assert reply == DeskReply(epoch=FIRST, pressed=True), "its phase waits in vain"
    assert passed_us() == 2 * SECOND


async def test_news_that_lies_ready_is_told_at_once() -> None:
    pool = Pool()
    await pool.tell(report(waiting=1))
    await pool.with_nodes(card())
    reply = await pool.actor.exchange(report(waiting=1), 2.0)
    assert numbers(reply.offers) == [1]
    assert passed_us() == 0


async def test_two_calls_of_one_desk_never_hear_of_the_same_offer() -> None:
    """A sender and a listener: what one of them is told, the other is not."""
    pool = Pool()
    listening = [asyncio.create_task(pool.actor.exchange(report(ahead=3), 2.0)) for _ in range(2)]
    await settle()
    await pool.with_nodes(card())
    heard = [await call for call in listening]
    assert sorted(numbers(ticket for reply in heard for ticket in reply.offers)) == [1, 2, 3]


async def test_what_a_desk_releases_is_offered_to_who_waits() -> None:
    pool = await Pool().with_nodes(card(slots=1))
    (mine,) = (await pool.tell(report(waiting=1))).offers
    await pool.tell(report(Accepted(mine.offer_id, SLOT)))
    listening = asyncio.create_task(
        pool.actor.exchange(report(desk="r1", agent=RESPONDER, waiting=1), 2.0)
    )
    await asyncio.sleep(0.5)
    await pool.tell(report(Finished(mine.offer_id)))
    assert numbers((await listening).offers) == [2]
    assert passed_us() == 500_000


async def test_a_desk_unheard_for_too_long_is_dropped_and_others_get_what_it_held() -> None:
    pool = await Pool().with_nodes(card(slots=1))
    pool.actor.start()
    (held,) = (await pool.tell(report(ahead=1))).offers
    heard: list[Ticket] = []
    while not heard:
        other = report(desk="r1", agent=RESPONDER, ahead=1)
        heard.extend((await pool.actor.exchange(other, 1.0)).offers)
    assert DESK_SILENT_S * SECOND < passed_us() <= (DESK_SILENT_S + TICK_S) * SECOND
    assert list((await pool.actor.status())["desks"]) == ["r1"]
    assert ("void", held.offer_id) in pool.links[N1].asked.read()
    assert (await pool.actor.status())["offers_ended"] == {"planner.rescinded": 1}


async def test_a_dropped_desk_that_speaks_again_is_back() -> None:
    pool = await Pool().with_nodes(card())
    pool.actor.start()
    await pool.tell(report(ahead=1))
    await asyncio.sleep(DESK_SILENT_S + 2 * TICK_S)
    assert (await pool.actor.status())["desks"] == {}
    assert numbers((await pool.tell(report(ahead=1))).offers) == [2]


async def test_a_desk_that_listens_is_not_dropped() -> None:
    pool = await Pool().with_nodes(card())
    pool.actor.start()
    for _ in range(3 * DESK_SILENT_S):
        await pool.actor.exchange(report(), 1.0)
    assert list((await pool.actor.status())["desks"]) == ["p1"]


# Engines


async def test_an_engine_is_fenced_before_anything_is_offered_on_it_and_then_watched() -> None:
    pool = Pool()
    await pool.tell(report(ahead=1))
    await pool.with_nodes(card())
    assert pool.links[N1].asked.read() == [
        ("fence", FIRST, OfferId(FIRST.n << IDS_PER_EPOCH_BITS)),
        ("watch", FIRST, WATCH_S),
    ]
    await asyncio.sleep(3 * WATCH_S)
    await settle()
    assert [line[0] for line in pool.links[N1].asked.read()] == ["watch"] * 3


async def test_an_engine_that_is_in_the_pool_may_ask_again_and_nothing_happens() -> None:
    pool = await Pool().with_nodes(card(), card(), card())
    assert pool.reached == [card()]
    assert pool.links[N1].asked.count("fence") == 1


async def test_what_runs_on_an_engine_counts_before_anything_is_offered() -> None:
    pool = Pool()
    pool.links[N1].running = (grant(1), grant(2), grant(3))
    await pool.with_nodes(card())
    assert await pool.free() == "cpu=1000"
    assert len((await pool.tell(report(ahead=4))).offers) == 1


async def test_what_an_engine_says_has_ended_is_free() -> None:
    pool = await Pool().with_nodes(card(slots=1))
    (mine,) = (await pool.tell(report(waiting=1))).offers
    await pool.tell(report(Accepted(mine.offer_id, SLOT)))
    pool.links[N1].word = Watched(finished=(mine.offer_id,))
    await asyncio.sleep(2 * WATCH_S)
    assert await pool.free() == "cpu=1000"


async def test_a_dead_engine_s_offers_are_withdrawn_and_made_again_elsewhere() -> None:
    pool = await Pool().with_nodes(card(N1, slots=2))
    told = (await pool.tell(report(ahead=2))).offers
    listening = asyncio.create_task(pool.actor.exchange(report(ahead=2), 2.0))
    await pool.with_nodes(card(N2))
    assert not listening.done()

    pool.links[N1].dies()
    await settle()
    reply = listening.result()
    assert passed_us() == 0
    assert set(reply.withdrawn) == {ticket.offer_id for ticket in told}
    assert [ticket.node for ticket in reply.offers] == [N2, N2]
    assert list((await pool.actor.status())["nodes"]) == [N2]


async def test_an_offer_on_an_engine_that_dies_before_its_desk_hears_of_it_is_never_told() -> None:
    pool = Pool()
    await pool.tell(report(ahead=1))
    await pool.with_nodes(card())
    pool.links[N1].dies()
    await settle()
    reply = await pool.tell(report(ahead=1))
    assert reply.offers == ()
    assert numbers_of(reply.withdrawn) == [1]


async def test_an_engine_that_dies_and_asks_again_is_fenced_above_what_was_offered_before() -> None:
    pool = await Pool().with_nodes(card())
    await pool.tell(report(ahead=3))
    pool.links[N1].dies()
    await settle()
    pool.links[N1] = FakeLink()
    await pool.with_nodes(card())
    ((_, epoch, above), _) = pool.links[N1].asked.read()
    assert (epoch, above) == (FIRST, OfferId((FIRST.n << IDS_PER_EPOCH_BITS) + 3))


async def test_an_engine_that_dies_while_it_is_fenced_was_never_here() -> None:
    pool = Pool()
    pool.links[N1].dies()
    await pool.with_nodes(card())
    assert (await pool.actor.status())["nodes"] == {}
    pool.links[N1] = FakeLink()
    await pool.with_nodes(card())
    assert list((await pool.actor.status())["nodes"]) == [N1]


# Offers that run out


async def expired(pool: Pool) -> Ticket:
    """Let an offer run out, and its engine be asked; its desk goes on listening."""
    pool.actor.start()
    (mine,) = (await pool.tell(report(ahead=1))).offers
    pool.links[N1].asked.read()
    for _ in range(12):
        reply = await pool.actor.exchange(report(), 1.0)
        if reply.withdrawn:
            break
    assert reply.withdrawn == (mine.offer_id,)
    assert 11 * SECOND <= passed_us() <= 12 * SECOND
    await settle()
    return mine


async def test_an_offer_that_runs_out_is_free_once_its_engine_says_it_never_started() -> None:
    pool = await Pool().with_nodes(card())
    mine = await expired(pool)
    assert [line for line in pool.links[N1].asked.read() if line[0] != "watch"] == [
        ("void", mine.offer_id)
    ]
    assert await pool.free() == "cpu=4000"
    assert (await pool.actor.status())["offers_ended"] == {"planner.expired": 1}


async def test_an_offer_that_ran_out_after_it_was_started_is_in_use() -> None:
    pool = await Pool().with_nodes(card())
    number = OfferId((FIRST.n << IDS_PER_EPOCH_BITS) + 1)
    pool.links[N1].started = {number}
    await expired(pool)
    pool.links[N1].word = Watched(running=frozenset({number}))
    assert await pool.free() == "cpu=3000"
    assert (await pool.actor.status())["offers_ended"] == {}
    await asyncio.sleep(5 * WATCH_S)
    assert await pool.free() == "cpu=3000"


async def test_an_engine_that_dies_when_it_is_asked_frees_the_offer_by_its_death() -> None:
    pool = await Pool().with_nodes(card(), card(N2))
    pool.actor.start()
    await pool.tell(report(ahead=8))
    pool.links[N1].dies()
    pool.links[N2].dies()
    await asyncio.sleep(12)
    status = await pool.actor.status()
    assert (status["nodes"], status["offers_open"]) == ({}, 0)


async def test_offers_held_ahead_are_taken_back_for_a_phase_that_waits() -> None:
    pool = await Pool().with_nodes(card(slots=2))
    held = (await pool.tell(report(ahead=2))).offers
    waiting = report(desk="r1", agent=RESPONDER, waiting=1)
    reply = await pool.actor.exchange(waiting, 2.0)
    assert numbers(reply.offers) == [3]
    assert (await pool.tell(report(ahead=2))).withdrawn == (held[1].offer_id,)
    assert passed_us() == 0


# A later life


async def test_an_allocator_that_hears_of_its_successor_takes_no_more_engines() -> None:
    pool = await Pool().with_nodes(card())
    (mine,) = (await pool.tell(report(ahead=1))).offers
    pool.links[N1].word = Watched(superseded=True)
    await asyncio.sleep(WATCH_S)
    await settle()
    assert (await pool.actor.status())["nodes"] == {}
    assert (await pool.tell(report(ahead=1))).withdrawn == (mine.offer_id,)

    await pool.with_nodes(card(), card(N2))
    assert pool.reached == [card()]
    assert (await pool.tell(report(ahead=1))).offers == ()


async def test_an_allocator_whose_fence_is_refused_is_superseded_too() -> None:
    pool = Pool()
    pool.links[N1].running = None
    await pool.with_nodes(card())
    await pool.with_nodes(card(N2))
    assert pool.reached == [card()]
    assert (await pool.actor.status())["nodes"] == {}


# What it shows


async def test_the_snapshot_is_what_the_pool_looks_like() -> None:
    pool = await Pool().with_nodes(card(), card(N2, slots=2))
    pool.actor.start()
    mine = (await pool.tell(report(ahead=3))).offers
    await pool.tell(report(desk="r1", agent=RESPONDER, waiting=2))
    await pool.tell(report())
    await pool.tell(
        report(
            Accepted(mine[0].offer_id, SLOT),
            Declined(mine[1].offer_id),
            Declined(mine[1].offer_id),
        )
    )
    pool.links[N1].word = Watched(
        running=frozenset({mine[0].offer_id}), broken_reservations=2, waiting=7
    )
    await asyncio.sleep(WATCH_S + TICK_S)
    await settle()
    assert pool.shown[-1] == PoolSnapshot(
        epoch=1,
        nodes=2,
        capacity={"gpu": 0, "cpu": 6_000, "bandwidth": 0},
        alloc={
            ("planner", "gpu"): 0,
            ("planner", "cpu"): 2_000,
            ("planner", "bandwidth"): 0,
            ("responder", "gpu"): 0,
            ("responder", "cpu"): 2_000,
            ("responder", "bandwidth"): 0,
        },
        open_offers={
            ("planner", "accepted"): 1,
            ("planner", "issued"): 1,
            ("responder", "issued"): 2,
        },
        ended_offers={("planner", "declined"): 1},
        refused_events=1,
        broken_reservations=2,
        waiting={"planner": 0, "responder": 2},
        policy="fair_share",
        share={"planner": 1 / 3, "responder": 1 / 3},
        demand={
            ("planner", "gpu"): 0,
            ("planner", "cpu"): 2_000,
            ("planner", "bandwidth"): 0,
            ("responder", "gpu"): 0,
            ("responder", "cpu"): 2_000,
            ("responder", "bandwidth"): 0,
        },
        filters={"planner": 0, "responder": 0},
        accelerators=2_000_000,
        fleet=pool.shown[-1].fleet,
        engine_running=1,
        engine_waiting=7,
    )


async def test_the_fleets_states_are_told_with_the_engines_word() -> None:
    """One of four slots computes; two offers are held ahead of need, and one slot is free."""
    pool = await Pool().with_nodes(card())
    pool.actor.start()
    one, *_ = (await pool.tell(report(ahead=3))).offers
    await pool.tell(report(Accepted(one.offer_id, SLOT), ahead=2))
    engine = Computing(LoopClock().now(), 1_000_000)
    engine.changed(LoopClock().now(), 250_000)
    for _ in range(10):
        await asyncio.sleep(WATCH_S - 0.01)
        pool.links[N1].word = Watched(
            running=frozenset({one.offer_id}), computed=engine.word(LoopClock().now())
        )
        await asyncio.sleep(0.01)
        await pool.tell(report(ahead=2))
    told = pool.shown[-1].fleet
    assert told["held"] == told["blocked"] == told["stranded"] == 0
    total = sum(told.values())
    assert 8e12 < total <= 10e12, "accelerator-microseconds, in millionths: the last are not in yet"
    assert told["computing"] / total == pytest.approx(0.25, abs=0.01)
    assert pool.shown[-1].fleet_remainder < 0.2e12


async def test_a_state_that_no_offer_is_in_any_more_is_shown_as_none() -> None:
    pool = await Pool().with_nodes(card())
    pool.actor.start()
    (mine,) = (await pool.tell(report(ahead=1))).offers
    await asyncio.sleep(TICK_S)
    await settle()
    assert pool.shown[-1].open_offers == {("planner", "issued"): 1}
    await pool.tell(report())
    await pool.tell(report(Accepted(mine.offer_id, SLOT), Finished(mine.offer_id)))
    await asyncio.sleep(TICK_S)
    await settle()
    assert pool.shown[-1].open_offers == {("planner", "issued"): 0}


async def test_a_dead_engine_s_journal_counts_no_more() -> None:
    pool = await Pool().with_nodes(card(), card(N2))
    pool.actor.start()
    for node, broken in ((N1, 2), (N2, 1)):
        pool.links[node].word = Watched(broken_reservations=broken)
    await asyncio.sleep(2 * WATCH_S)
    assert (await pool.actor.status())["broken_reservations"] == 3
    pool.links[N1].dies()
    await settle()
    assert (await pool.actor.status())["broken_reservations"] == 1


async def test_the_status_tells_people_the_same() -> None:
    pool = await Pool().with_nodes(card())
    await pool.tell(report(ahead=2, waiting=1))
    await pool.tell(report(Finished(OfferId(99)), ahead=2, waiting=1))
    status = await pool.actor.status()
    assert status["epoch"] == 1
    assert status["run"] == FIRST.run
    assert status["nodes"] == {N1: {"capacity": "cpu=4000", "free": "cpu=1000"}}
    assert status["desks"] == {"p1": {"agent": "planner", "waiting": 1, "ahead": 2, "offers": 3}}
    assert (status["offers_open"], status["refused_events"]) == (3, 1)


async def test_new_terms_hold_for_the_offers_after_them() -> None:
    pool = await Pool().with_nodes(card())
    (old,) = (await pool.tell(report(ahead=1))).offers
    await pool.actor.configure(replace(TERMS, offer_lasts_us=Micros(3 * SECOND)))
    (new,) = (await pool.tell(report(ahead=2))).offers
    assert (old.lasts, new.lasts) == (10 * SECOND, 3 * SECOND)


# What cannot be served


def large(**also: Any) -> DeskReport:
    return replace(report(waiting=1, **also), bundle=Resources(cpu_milli=9_000))


async def test_a_desk_that_no_node_can_serve_is_told_so_at_once_and_may_ask_again() -> None:
    pool = await Pool().with_nodes(card(slots=4))
    reply = await pool.actor.exchange(large(), 2.0)
    assert reply.refused is not None
    assert "the largest that fits any node is cpu=4000" in reply.refused
    assert passed_us() == 0
    assert (await pool.actor.status())["desks"] == {}

    await pool.with_nodes(card(N2, slots=9))
    reply = await pool.tell(large())
    assert reply.refused is None
    assert [ticket.node for ticket in reply.offers] == [N2]


async def test_a_desk_that_speaks_of_what_another_holds_is_refused_and_it_is_counted() -> None:
    pool = await Pool().with_nodes(card(slots=1))
    (mine,) = (await pool.tell(report(waiting=1))).offers
    lie = report(Finished(mine.offer_id), Declined(mine.offer_id), desk="r1", agent=RESPONDER)
    await pool.tell(lie)
    status = await pool.actor.status()
    assert (status["refused_events"], status["offers_ended"]) == (2, {})
    await pool.tell(report(Accepted(mine.offer_id, SLOT)))
    assert (await pool.actor.status())["offers_by_state"] == {"accepted": 1}


GANG = GangId("g1")


def gang_of(least: int, gang: GangId = GANG) -> GangWanted:
    return GangWanted(
        gang, DeskId("p1"), (Member(agent=PLANNER, bundle=SLOT, least=least, most=9),)
    )


async def test_a_gang_is_offered_in_one_reply_or_refused_with_the_reason() -> None:
    pool = await Pool().with_nodes(card(slots=2), card(N2, slots=2))
    reply = await pool.tell(replace(report(), events=(gang_of(3),)))
    assert [ticket.gang for ticket in reply.offers] == [GANG] * 4
    reply = await pool.tell(replace(report(desk="p2"), events=(gang_of(99, GangId("g2")),)))
    ((gang, why),) = reply.gangs_refused
    assert gang == "g2"
    assert "1 to 64 may be" in why


# Terms, on a running service


async def test_the_terms_of_a_deployment_are_taken_once_and_a_choice_made_since_stays() -> None:
    pool = Pool()
    other = replace(TERMS, offer_lasts_us=Micros(3 * SECOND))
    await pool.actor.settle(other)
    assert await pool.actor.choose_policy("first_come") is None
    await pool.actor.settle(other)
    assert (await pool.actor.status())["policy"] == "first_come"
    await pool.with_nodes(card())
    assert (await pool.tell(report(waiting=1))).offers[0].lasts == 3 * SECOND


async def test_a_policy_that_there_is_not_is_refused_and_the_old_one_stays() -> None:
    pool = Pool()
    why = await pool.actor.choose_policy("luck")
    assert why is not None
    assert "luck" in why
    assert (await pool.actor.status())["policy"] == "fair_share"


async def test_terms_that_make_no_sense_are_refused() -> None:
    why = await Pool().actor.configure(replace(TERMS, offers_per_desk_max=0))
    assert why is not None
    assert "offers_per_desk_max is 0" in why


# Draining, asking back, preempting


async def test_a_draining_node_is_offered_no_more_until_it_is_reopened() -> None:
    pool = await Pool().with_nodes(card())
    assert await pool.actor.drain(N1, 5.0, preempt=False) is None
    assert (await pool.actor.status())["draining"] == [N1]
    assert (await pool.tell(report(waiting=1))).offers == ()
    assert await pool.actor.reopen(N1) is None
    assert len((await pool.tell(report(waiting=1))).offers) == 1


async def test_what_is_not_here_is_not_drained_and_what_does_not_drain_not_reopened() -> None:
    pool = await Pool().with_nodes(card())
    assert await pool.actor.drain(N2, 5.0, preempt=True) == "ProtocolError: node n2 is not here"
    assert await pool.actor.reopen(N1) == "ProtocolError: node n1 does not drain"


async def test_what_runs_on_a_draining_node_is_asked_back_and_then_ended_by_its_engine() -> None:
    pool = await Pool().with_nodes(card())
    pool.actor.start()
    (mine,) = (await pool.tell(report(waiting=1))).offers
    await pool.tell(report(Accepted(mine.offer_id, SLOT)))
    pool.links[N1].word = Watched(running=frozenset({mine.offer_id}))
    assert await pool.actor.drain(N1, 3.0, preempt=True) is None
    reply = await pool.tell(report())
    assert reply.asked_back == ((mine.offer_id, 3 * SECOND),)
    await asyncio.sleep(3 + TICK_S)
    assert ("preempt", mine.offer_id) in pool.links[N1].asked.read()
    assert (await pool.actor.status())["preempted"] == 1
    await pool.tell(report(Finished(mine.offer_id)))
    assert await pool.free() == "cpu=4000"
