"""A desk's line to the allocator: who waits for it, and what its silence costs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from coordsvc.core.desk import Desk
from coordsvc.core.errors import BadRequest, DeadlinePassed, Overloaded
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.guard import Refusal
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskEvent,
    Finished,
    GangGivenUp,
    GangWanted,
    Member,
)
from coordsvc.core.offers import Grant, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.terms import DeskTerms
from coordsvc.core.units import (
    MILLISECOND,
    SECOND,
    AgentId,
    DeskId,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    TurnId,
)
from coordsvc.core.waits import Wait as PhaseWaits
from coordsvc.serving.desk_link import CALLS_MAX, LISTEN_S, LinkedDesk
from tests.fakes import N1, N2, SECOND_LIFE, SLOT, FakePool, a_wait, ticket
from tests.jumping import NOW, LoopClock, passed_us, settle

LEFT = Micros(30 * SECOND)


@asynccontextmanager
async def linked(
    pool: FakePool, bundle: Resources = SLOT, least: Resources | None = None, **terms: int
) -> AsyncGenerator[LinkedDesk]:
    """A desk whose line is open, with whatever the pool offers at first in hand."""
    desk = Desk(DeskId("r1"), AgentId("responder"), bundle, DeskTerms(**terms), least=least)
    link = LinkedDesk(desk, pool, LoopClock())
    link.start()
    await settle()
    try:
        yield link
    finally:
        link.stop()
        pool.dead_calls_end()


async def take(link: LinkedDesk, left: Micros = LEFT) -> Grant:
    return await link.take(SLOT, a_wait(LoopClock().now(), left))


async def after(micros: int) -> None:
    """Let time pass, and all that happens in it."""
    await asyncio.sleep(micros / SECOND)
    await settle()


def events(reports: list[DeskReport]) -> list[DeskEvent | GangWanted | GangGivenUp]:
    return [event for report in reports for event in report.events]


def accepted(number: int) -> Accepted:
    return Accepted(OfferId(number), SLOT)


def finished(number: int) -> Finished:
    return Finished(OfferId(number))


# With offers in hand


async def test_with_an_offer_in_hand_a_phase_starts_without_any_exchange() -> None:
    pool = FakePool(ticket(1), ticket(2))
    async with linked(pool) as link:
        pool.told()
        grant = await take(link)
        await settle()
        assert (grant.offer_id, grant.use) == (1, 1)
        assert passed_us() == 0
        assert pool.asked.nothing_else()


async def test_news_lingers_for_company() -> None:
    pool = FakePool(*(ticket(number) for number in range(1, 9)))
    async with linked(pool, ahead_min=8, ahead_max=8) as link:
        pool.told()
        await take(link)
        await after(100 * MILLISECOND)
        await take(link)
        await after(299 * MILLISECOND)
        assert pool.asked.nothing_else()
        await after(MILLISECOND)
        (report,) = pool.told()
        assert report.events == (accepted(1), accepted(2))
        assert report.waiting == 0


async def test_news_lingers_less_when_little_is_in_hand() -> None:
    pool = FakePool(*(ticket(number) for number in range(1, 5)))
    async with linked(pool, ahead_min=4, ahead_max=4) as link:
        pool.told()
        for _ in range(2):
            await take(link)
        await after(10 * MILLISECOND)
        assert pool.asked.nothing_else()
        await take(link)
        await after(40 * MILLISECOND)
        (report,) = pool.told()
        assert report.events == (accepted(1), accepted(2), accepted(3))


async def test_of_one_offer_only_the_last_news_travels() -> None:
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        pool.told()
        link.finished(await take(link))
        await after(SECOND)
        assert events(pool.told()) == [finished(1)]


async def test_a_grant_of_which_nothing_is_known_is_left_to_its_engine() -> None:
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        pool.told()
        grant = await take(link)
        link.uncertain(grant)
        link.finished(grant)
        await after(SECOND)
        assert events(pool.told()) == [accepted(1)]


# With none


async def test_at_an_empty_desk_phases_wait_and_are_served_in_order() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        await after(round(LISTEN_S * SECOND))
        pool.told()
        first, second = (asyncio.create_task(take(link)) for _ in range(2))
        await settle()
        assert [report.waiting for report in pool.told()] == [2]

        await after(700 * MILLISECOND)
        pool.offer(ticket(1))
        await settle()
        assert (first.done(), second.done()) == (True, False)
        pool.offer(ticket(2))
        await settle()
        assert (first.result().offer_id, second.result().offer_id) == (1, 2)
        assert passed_us() == LISTEN_S * SECOND + 700 * MILLISECOND


async def test_who_comes_while_others_wait_does_not_overtake_them() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        first = asyncio.create_task(take(link))
        await settle()
        late = asyncio.create_task(take(link))
        pool.offer(ticket(1), ticket(2))
        await settle()
        assert (first.result().offer_id, late.result().offer_id) == (1, 2)


async def test_an_elastic_phase_takes_what_there_is() -> None:
    large_slot = Resources(cpu_milli=2_000)
    async with linked(FakePool(ticket(1)), bundle=large_slot, least=SLOT) as link:
        assert (await link.take(large_slot, a_wait(LoopClock().now(), SECOND))).bundle == SLOT


async def test_a_phase_larger_than_any_offer_is_refused_at_once() -> None:
    async with linked(FakePool(ticket(1))) as link:
        with pytest.raises(BadRequest, match=r"needs cpu=2000; .* offered: cpu=1000"):
            await link.take(Resources(cpu_milli=2_000), a_wait(LoopClock().now(), SECOND))
        assert passed_us() == 0


async def test_time_runs_out_without_an_offer() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        with pytest.raises(DeadlinePassed, match="no offer came in time"):
            await take(link, Micros(3 * SECOND))
        assert passed_us() == 3 * SECOND
        pool.told()
        await after(round(LISTEN_S * SECOND))
        assert [report.waiting for report in pool.told()] == [0]


async def test_who_waited_in_vain_keeps_nobody_from_an_offer() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        with pytest.raises(DeadlinePassed):
            await take(link, Micros(SECOND))
        patient = asyncio.create_task(take(link))
        await settle()
        pool.offer(ticket(1))
        await settle()
        assert patient.result().offer_id == 1


async def test_a_deadline_that_has_passed_takes_only_what_is_in_hand() -> None:
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        assert (await take(link, Micros(0))).offer_id == 1
        with pytest.raises(DeadlinePassed):
            await take(link, Micros(-5))


async def test_an_offer_that_comes_too_late_for_its_phase_is_given_back() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        waiting = asyncio.create_task(take(link))
        await settle()
        pool.offer(ticket(1))
        while link._waiters:  # noqa: ASYNC110 - until it is given, before the phase hears of it
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        pool.told()
        await after(SECOND)
        assert events(pool.told()) == [finished(1)]


# What the allocator and the engines say


async def test_what_is_withdrawn_is_not_taken() -> None:
    pool = FakePool(ticket(1), ticket(2))
    async with linked(pool) as link:
        pool.withdraw(1)
        await settle()
        assert (await take(link)).offer_id == 2


async def test_a_stale_epoch_drops_all_that_was_held_of_it_on_that_node() -> None:
    pool = FakePool(ticket(1), ticket(2), ticket(3, node=N2))
    async with linked(pool) as link:
        grant = await take(link)
        link.uncertain(grant)
        link.refused(grant, Refusal.STALE_EPOCH)
        assert (await take(link)).node == N2


@pytest.mark.parametrize("refusal", [r for r in Refusal if r is not Refusal.STALE_EPOCH])
async def test_another_refusal_says_nothing_of_other_offers(refusal: Refusal) -> None:
    pool = FakePool(ticket(1), ticket(2), ticket(3, node=N2))
    async with linked(pool) as link:
        link.refused(await take(link), refusal)
        assert (await take(link)).offer_id == 2


async def test_a_dead_node_s_offers_are_dropped() -> None:
    pool = FakePool(ticket(1), ticket(2), ticket(3, node=N2))
    async with linked(pool) as link:
        link.node_lost((await take(link)).node)
        assert (await take(link)).offer_id == 3


async def test_a_phase_may_prefer_a_node() -> None:
    pool = FakePool(ticket(1), ticket(2, node=N2))
    async with linked(pool) as link:
        assert (await link.take(SLOT, a_wait(LoopClock().now(), LEFT, near=N2))).node == N2
        assert (await link.take(SLOT, a_wait(LoopClock().now(), LEFT, near=N2))).node == N1


# The allocator's silence


async def test_a_silent_allocator_is_noticed_and_grants_are_used_again() -> None:
    """Ray would take a second or two to say that the actor died."""
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        pool.deaf = True
        grant = await take(link)
        waiting = asyncio.create_task(take(link))
        await after(250 * MILLISECOND)
        link.finished(grant)
        await settle()
        again = waiting.result()
        assert (again.offer_id, again.use) == (1, 2)
        assert passed_us() == 250 * MILLISECOND


async def test_before_it_counts_as_silent_a_finished_grant_is_not_used_again() -> None:
    """The allocator may have heard of it, and given its bundle to somebody."""
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        pool.deaf = True
        grant = await take(link)
        waiting = asyncio.create_task(take(link))
        await after(100 * MILLISECOND)
        link.finished(grant)
        await after(100 * MILLISECOND)
        assert not waiting.done()
        waiting.cancel()


async def test_news_that_nobody_was_told_is_no_news_once_the_allocator_is_silent() -> None:
    """The listener's call fails while the news still lingers."""
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        pool.deaf = True
        await after(round(LISTEN_S * SECOND))
        link.finished(await take(link))
        pool.dead_calls_end()
        again = await take(link)
        assert (again.offer_id, again.use) == (1, 2)
        assert passed_us() == LISTEN_S * SECOND


async def test_an_allocator_that_speaks_again_hears_what_happened_meanwhile() -> None:
    pool = FakePool(ticket(1), ticket(2))
    async with linked(pool) as link:
        pool.deaf = True
        first = await take(link)
        await after(5 * SECOND)
        link.finished(first)
        await take(link)
        link.finished(await take(link))
        pool.told()

        pool.deaf, pool.epoch = False, SECOND_LIFE
        await after(400 * MILLISECOND)
        assert set(events(pool.told())) == {finished(1), accepted(2)}
        pool.offer(ticket(7, epoch=SECOND_LIFE))
        await settle()
        assert (await take(link)).offer_id == 7


async def test_calls_to_a_dead_allocator_do_not_hold_up_those_to_the_next() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        pool.deaf = True
        waiting = asyncio.create_task(take(link))
        await after(SECOND)
        pool.deaf, pool.epoch = False, SECOND_LIFE
        pool.offer(ticket(7, epoch=SECOND_LIFE))
        await after(400 * MILLISECOND)
        assert waiting.result().offer_id == 7


async def test_an_answer_that_comes_late_is_an_answer() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        pool.deaf = True
        waiting = asyncio.create_task(take(link))
        await after(SECOND)
        pool.deaf = False
        pool.offer(ticket(1))
        for call in pool._hung:
            call.set_result(None)
        await settle()
        assert waiting.result().offer_id == 1


async def test_unanswered_calls_are_bounded_however_long_the_silence() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        pool.deaf = True
        waiting = asyncio.create_task(take(link, Micros(600 * SECOND)))
        await after(300 * SECOND)
        assert pool.asked.count("exchange") <= CALLS_MAX + 1

        pool.deaf, pool.epoch = False, SECOND_LIFE
        pool.offer(ticket(7, epoch=SECOND_LIFE))
        pool.dead_calls_end()
        await after(SECOND)
        assert waiting.result().offer_id == 7


async def test_a_call_that_fails_is_made_again_and_not_at_once() -> None:
    pool = FakePool()
    pool.down = True
    async with linked(pool):
        await after(SECOND)
        assert 5 <= pool.asked.count("exchange") <= 20


async def test_who_gives_up_in_the_silence_gives_back_what_was_given_too_late() -> None:
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        pool.deaf = True
        grant = await take(link)
        waiting = asyncio.create_task(take(link))
        await after(SECOND)
        link.finished(grant)  # given to the one who waits, who does not know it yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        again = await take(link)
        assert (again.offer_id, again.use) == (1, 3)


# The end


async def test_a_stopped_desk_leaves_nothing_behind() -> None:
    pool = FakePool(ticket(1))
    async with linked(pool) as link:
        await take(link)
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    pool.told()
    await after(60 * SECOND)
    assert pool.asked.nothing_else()


# Offers meant for somebody, and offers elsewhere


def a_turn(turn: str, near: NodeId | None = None) -> PhaseWaits:
    return a_wait(LoopClock().now(), LEFT, near, turn)


async def test_whom_an_offer_is_meant_for_is_served_before_who_came_first() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        first = asyncio.create_task(link.take(SLOT, a_turn("first")))
        second = asyncio.create_task(link.take(SLOT, a_turn("second")))
        await settle()
        pool.offer(replace(ticket(1), meant_for=TurnId("second")))
        await settle()
        assert (first.done(), second.done()) == (False, True)
        pool.offer(ticket(2))
        assert (await first).offer_id == 2


async def test_a_phase_waits_a_moment_for_an_offer_where_its_conversation_is_and_no_longer() -> (
    None
):
    """Delay scheduling: the offer elsewhere is in hand all the time."""
    pool = FakePool(ticket(1))
    async with linked(pool, locality_wait_us=5 * MILLISECOND) as link:
        grant = await link.take(SLOT, a_turn("t1", near=N2))
        assert grant.node == N1
        assert passed_us() == 5 * MILLISECOND


class EarlyTimers:
    """The port `Clock`, beside a loop whose timers ring before they are due by it: as uvloop's do,
    which count in whole milliseconds."""

    def now(self) -> Instant:
        return Instant(NOW + passed_us() * 4 // 5)


async def test_a_timer_that_rings_early_ends_the_wait_for_locality_all_the_same() -> None:
    pool = FakePool(ticket(1))
    terms = DeskTerms(locality_wait_us=Micros(5 * MILLISECOND))
    link = LinkedDesk(Desk(DeskId("r1"), AgentId("responder"), SLOT, terms), pool, EarlyTimers())
    link.start()
    await settle()
    before = passed_us()
    await link.take(SLOT, a_wait(EarlyTimers().now(), LEFT, near=N2))
    assert passed_us() - before == 5 * MILLISECOND
    link.stop()
    pool.dead_calls_end()


async def test_an_offer_near_that_comes_in_that_moment_is_taken() -> None:
    pool = FakePool(ticket(1))
    async with linked(pool, locality_wait_us=5 * MILLISECOND) as link:
        waiting = asyncio.create_task(link.take(SLOT, a_turn("t1", near=N2)))
        await after(2 * MILLISECOND)
        pool.offer(ticket(2, node=N2))
        assert (await waiting).node == N2
        assert passed_us() == 2 * MILLISECOND


async def test_a_phase_with_nothing_in_hand_does_not_wait_for_locality() -> None:
    pool = FakePool()
    async with linked(pool, locality_wait_us=5 * MILLISECOND) as link:
        waiting = asyncio.create_task(link.take(SLOT, a_turn("t1", near=N2)))
        await settle()
        pool.offer(ticket(1))
        assert (await waiting).node == N1
        assert passed_us() == 0


# Gangs

GANG = GangId("g1")
MEMBERS = (Member(agent=AgentId("responder"), bundle=SLOT, least=2, most=2),)


def gang_tickets() -> tuple[Ticket, ...]:
    return tuple(replace(ticket(number), gang=GANG) for number in (1, 2))


def asks(link: LinkedDesk, left_s: float = 5) -> asyncio.Task[tuple[Grant, ...]]:
    deadline = Instant(LoopClock().now() + round(left_s * SECOND))
    return asyncio.create_task(link.take_gang(GANG, MEMBERS, deadline))


async def test_a_gang_is_asked_for_at_once_and_granted_as_a_whole() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        pool.told()
        asking = asks(link)
        await settle()
        assert [type(event) for event in events(pool.told())] == [GangWanted]
        pool.offer(*gang_tickets())
        assert [grant.offer_id for grant in await asking] == [1, 2]
        await after(SECOND)
        assert events(pool.told()) == [accepted(1), accepted(2)]


async def test_a_gang_that_cannot_be_is_refused_with_the_allocators_reason() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        asking = asks(link)
        await settle()
        pool.refuse_gang(GANG, "the pool is too small")
        with pytest.raises(Overloaded, match="the pool is too small"):
            await asking
        assert passed_us() == 0


async def test_a_gang_that_does_not_come_in_time_is_given_up() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        with pytest.raises(DeadlinePassed):
            await asks(link, left_s=3)
        await settle()
        pool.offer(*gang_tickets())
        await after(SECOND)
        told = events(pool.told())
        assert passed_us() == 4 * SECOND
        assert GangGivenUp(GANG) in told
        assert told[-2:] == [Declined(OfferId(1)), Declined(OfferId(2))]


async def test_a_gang_whose_caller_leaves_is_given_up() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        asking = asks(link)
        await settle()
        asking.cancel()
        await after(SECOND)
        assert events(pool.told())[-1] == GangGivenUp(GANG)


async def test_a_gang_that_comes_just_as_its_caller_leaves_is_given_back() -> None:
    pool = FakePool()
    async with linked(pool) as link:
        asking = asks(link)
        await settle()
        link._desk.heard(
            LoopClock().now(),
            LoopClock().now(),
            DeskReply(epoch=pool.epoch, offers=gang_tickets()),
            waited=False,
        )
        link._serve()
        asking.cancel()
        await after(SECOND)
        assert events(pool.told())[-2:] == [finished(1), finished(2)]


# A desk that is not served


async def test_a_desk_that_is_refused_asks_again_by_and_by_and_not_all_the_time() -> None:
    pool = FakePool()
    pool.refuses = "no node is large enough"
    async with linked(pool) as link:
        await after(20 * SECOND)
        assert 5 <= len(pool.told()) <= 25
        pool.refuses = None
        pool.offer(ticket(1))
        await after(3 * SECOND)
        assert (await take(link)).offer_id == 1
