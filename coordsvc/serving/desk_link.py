"""A desk with its line to the allocator: one sender that batches, one listener that waits.

A phase that finds an offer in hand never waits for either. The allocator's silence is noticed by
a timer of the desk's own, because Ray says that an actor died only after a second or two; a call
made once it lives again is answered at once. So a call that is not answered in time is left to
itself, and another is made beside it.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from itertools import islice

from coordsvc.core.desk import Desk
from coordsvc.core.errors import BadRequest, DeadlinePassed, Overloaded
from coordsvc.core.guard import Refusal
from coordsvc.core.messages import Member
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, GangId, Instant, Micros, NodeId, since
from coordsvc.core.waits import Wait
from coordsvc.ports import Clock
from coordsvc.serving.pool import AllocatorSilent, Pool

LISTEN_S = 2.0
"""How long the allocator may keep a listening call before it answers with nothing."""
RETRY_S = 0.1
"""How long to wait before calling a silent allocator again."""
CALLS_MAX = 32
"""Unanswered calls at most; two lines that call every 0.35 s for 2 s make a dozen."""


@dataclass(slots=True)
class Waiter:
    """A phase that waits for an offer."""

    used: Resources
    wait: Wait
    granted: asyncio.Future[Grant]
    choosy: bool = False
    """Whether it passes over offers where its conversation is not cached; for a moment only."""


class LinkedDesk:
    """The `OfferDesk` of one agent replica."""

    def __init__(self, desk: Desk, pool: Pool, clock: Clock) -> None:
        self._desk = desk
        self._pool = pool
        self._clock = clock
        self._waiters: deque[Waiter] = deque()
        self._gang_waiters: dict[GangId, asyncio.Future[tuple[Grant, ...]]] = {}
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0
        """When the timer goes off, on the loop's clock: uvloop's handles do not always tell."""
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        """All that are unanswered."""
        self._unserved = False
        """The allocator refuses the desk, at once: to listen is to wait before asking again."""
        self._awaited: set[asyncio.Future[None]] = set()
        """One for each call whose answer is still waited for."""

    def start(self) -> None:
        """Begin to listen; the running loop is the desk's from now on."""
        self._listening = asyncio.create_task(self._listen())

    def stop(self) -> None:
        """End the line; what is held lapses."""
        for task in (self._listening, self._sending, *self._calls):
            if task is not None:
                task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def at_rest(self) -> bool:
        """Tell whether nothing waits, is in hand, runs under a grant, or is still to be told."""
        return self._desk.at_rest

    async def take(self, used: Resources, wait: Wait) -> Grant:
        """Return a grant as soon as there is one; raise `DeadlinePassed` at the wait's deadline."""
        now = self._clock.now()
        desk = self._desk
        if not desk.bundle.covers(used):
            raise BadRequest(f"a phase needs {used}; the largest that it is offered: {desk.bundle}")
        desk.arrived(now)
        near = desk.has_near(wait.near, wait.prefix) or not desk.held
        if near and not self._waiters and (grant := self._take(now, used, wait)) is not None:
            self._arm()
            return grant
        loop = asyncio.get_running_loop()
        patience_us = Micros(0) if near else desk.terms.locality_wait_us
        waiter = Waiter(used, wait, loop.create_future(), choosy=patience_us > 0)
        self._waiters.append(waiter)
        self._waiting_changed()
        if patience_us:
            loop.call_later(patience_us / SECOND, self._takes_any, waiter)
        else:
            self._serve()
        self._arm()
        taken = False
        try:
            async with asyncio.timeout(since(now, wait.deadline) / SECOND):
                grant = await waiter.granted
            taken = True
        except TimeoutError:
            raise DeadlinePassed("no offer came in time") from None
        finally:
            if not taken:
                self._gave_up(waiter)
        return grant

    async def take_gang(
        self, gang: GangId, members: tuple[Member, ...], deadline: Instant
    ) -> tuple[Grant, ...]:
        """Return grants for all of a gang, once all are there.

        Raises `DeadlinePassed`; `Overloaded`, with the allocator's reason, if it cannot be.
        """
        now = self._clock.now()
        self._desk.ask_gang(now, gang, members)
        waiter: asyncio.Future[tuple[Grant, ...]] = asyncio.get_running_loop().create_future()
        self._gang_waiters[gang] = waiter
        self._arm()
        taken = False
        try:
            async with asyncio.timeout(since(now, deadline) / SECOND):
                grants = await waiter
            taken = True
        except TimeoutError:
            raise DeadlinePassed(f"gang {gang} was not complete in time") from None
        finally:
            del self._gang_waiters[gang]
            if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
                self._desk.give_up_gang(self._clock.now(), gang)
            elif not taken:
                for grant in waiter.result():
                    self.finished(grant)  # it came just when its caller left
            self._arm()
        return grants

    def finished(
        self, grant: Grant, compute_us: Micros = Micros(0), *, late: bool = False, phase: str = ""
    ) -> None:
        """Pass on the engine's word that nothing runs under the grant any more."""
        self._desk.finished(self._clock.now(), grant, compute_us, late=late, phase=phase)
        self._serve()
        self._arm()

    def uncertain(self, grant: Grant) -> None:
        """Take note that nobody here knows what became of the grant; its engine will tell."""
        self._desk.uncertain(grant)

    def refused(self, grant: Grant, refusal: Refusal) -> None:
        """Drop what the engine will not honour: an earlier epoch's offers, all of them."""
        if refusal is Refusal.STALE_EPOCH:
            self._desk.epoch_fenced(grant.node, grant.epoch)

    def node_lost(self, node: NodeId) -> None:
        """Drop what is held on a dead node; gangs that were partly there are asked for anew."""
        self._desk.node_lost(node)
        self._arm()

    def _gave_up(self, waiter: Waiter) -> None:
        """Strike out a waiter that went away; what was given to it too late is given back."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._waiting_changed()
            self._serve()  # what was too little for this one may do for the next
        elif waiter.granted.done() and not waiter.granted.cancelled():
            self.finished(waiter.granted.result())

    def _serve(self) -> None:
        """Give what is in hand to those who wait: whom it was meant for, then who came first."""
        now = self._clock.now()
        if self._waiters and (meant := self._desk.meant_in_hand()):
            for waiter in [w for w in self._waiters if w.wait.turn in meant]:
                self._give(now, waiter)
        for waiter in tuple(self._waiters):
            wait = waiter.wait
            suits = not waiter.choosy or self._desk.has_near(wait.near, wait.prefix)
            if suits and not self._give(now, waiter):
                break
        self._waiting_changed()
        for gang in self._desk.gangs.ready():
            self._give_gang(now, gang)
        for gang, why in tuple(self._desk.gangs.refused.items()):
            if (hears := self._gang_waiters.get(gang)) is not None and not hears.done():
                hears.set_exception(Overloaded(why))

    def _takes_any(self, waiter: Waiter) -> None:
        """End a wait for locality. No clock is asked: the loop's timers ring up to 1 ms early."""
        waiter.choosy = False
        self._serve()

    def _give(self, now: Instant, waiter: Waiter) -> bool:
        """Give a waiter an offer; return False when there is none for it."""
        if not waiter.granted.done():
            grant = self._take(now, waiter.used, waiter.wait)
            if grant is None:
                return False
            waiter.granted.set_result(grant)
        self._waiters.remove(waiter)
        return True

    def _give_gang(self, now: Instant, gang: GangId) -> None:
        hears = self._gang_waiters.get(gang)
        if hears is None or hears.done():
            self._desk.give_up_gang(now, gang)
        elif (grants := self._desk.take_gang(now, gang)) is not None:
            hears.set_result(grants)

    def _take(self, now: Instant, used: Resources, wait: Wait) -> Grant | None:
        return self._desk.take(now, used, wait.near, turn=wait.turn, prefix=wait.prefix)

    def _waiting_changed(self) -> None:
        self._desk.waiting = len(self._waiters)
        self._desk.waits = [
            waiter.wait for waiter in islice(self._waiters, self._desk.terms.waits_told_max)
        ]

    def _arm(self) -> None:
        """See to it that the next report leaves when it is due."""
        if self._sending is not None:
            return  # the sender looks again when it is done
        due = self._desk.report_due(self._clock.now())
        if due is None:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0, due - self._clock.now()) / SECOND
        if self._timer is not None:
            if self._rings_at <= at:
                return
            self._timer.cancel()
        self._timer, self._rings_at = loop.call_at(at, self._send_now), at

    def _send_now(self) -> None:
        self._timer = None
        self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            await self._ask(0.0)
            if self._desk.silent:
                await asyncio.sleep(RETRY_S)
        finally:
            self._sending = None
        self._arm()

    async def _listen(self) -> None:
        while True:
            await self._ask(0.0 if self._desk.silent else LISTEN_S)
            if self._unserved:
                await asyncio.sleep(LISTEN_S)
            elif self._desk.silent:
                await asyncio.sleep(RETRY_S)

    async def _ask(self, wait_s: float) -> None:
        """Call the allocator; return when it has answered, or is thought not to."""
        while len(self._calls) >= CALLS_MAX:
            await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
        loop = asyncio.get_running_loop()
        awaited: asyncio.Future[None] = loop.create_future()
        self._awaited.add(awaited)
        patience = wait_s + self._desk.terms.silent_after_us / SECOND
        alarm = loop.call_later(patience, self._fell_silent)
        call = loop.create_task(self._exchange(wait_s, awaited))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(lambda _: _settle(awaited))
        try:
            await awaited
        finally:
            alarm.cancel()
            self._awaited.discard(awaited)
        if call.done():
            call.result()

    async def _exchange(self, wait_s: float, awaited: asyncio.Future[None]) -> None:
        sent, epoch = self._clock.now(), self._desk.epoch
        report = self._desk.report(sent)
        try:
            reply = await self._pool.exchange(report, wait_s)
        except AllocatorSilent:
            if not awaited.done():
                self._fell_silent()
            return
        self._unserved = reply.refused is not None
        self._desk.heard(sent, self._clock.now(), reply, waited=wait_s > 0)
        self._serve()
        if self._desk.epoch != epoch:
            self._await_no_more()  # whatever else is unanswered was asked of its predecessor

    def _fell_silent(self) -> None:
        self._desk.fell_silent()
        self._serve()
        self._await_no_more()

    def _await_no_more(self) -> None:
        for awaited in self._awaited:
            _settle(awaited)


def _settle(awaited: asyncio.Future[None]) -> None:
    if not awaited.done():
        awaited.set_result(None)
