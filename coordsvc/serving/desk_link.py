"""A desk with its line to the allocator: one sender that batches, one listener that waits.

A phase that finds an offer in hand never waits for either. The allocator's silence is noticed by
a timer of the desk's own, because Ray says that an actor died only after a second or two; a call
made once it lives again is answered at once. So a call that is not answered in time is left to
itself, and another is made beside it.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from coordsvc.core.desk import Desk
from coordsvc.core.errors import DeadlinePassed
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, Micros, NodeId
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
    prefer: NodeId | None
    granted: asyncio.Future[Grant]


class LinkedDesk:
    """The `OfferDesk` of one agent replica."""

    def __init__(self, desk: Desk, pool: Pool, clock: Clock) -> None:
        self._desk = desk
        self._pool = pool
        self._clock = clock
        self._waiters: deque[Waiter] = deque()
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0
        """When the timer goes off, on the loop's clock: uvloop's handles do not always tell."""
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        """All that are unanswered."""
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

    async def take(self, used: Resources, *, prefer: NodeId | None, left_us: Micros) -> Grant:
        """Return a grant as soon as there is one; raise `DeadlinePassed` after `left_us`."""
        now = self._clock.now()
        self._desk.arrived(now)
        if not self._waiters and (grant := self._desk.take(now, used, prefer)) is not None:
            self._arm()
            return grant
        waiter = Waiter(used, prefer, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._desk.waiting = len(self._waiters)
        self._arm()
        taken = False
        try:
            async with asyncio.timeout(left_us / SECOND):
                grant = await waiter.granted
            taken = True
        except TimeoutError:
            raise DeadlinePassed("no offer came in time") from None
        finally:
            if not taken:
                self._gave_up(waiter)
        return grant

    def finished(self, grant: Grant) -> None:
        """Pass on the engine's word that nothing runs under the grant any more."""
        self._desk.finished(self._clock.now(), grant)
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
        """Drop what is held on a dead node."""
        self._desk.node_lost(node)

    def _gave_up(self, waiter: Waiter) -> None:
        """Strike out a waiter that went away; what was given to it too late is given back."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._serve()  # what was too little for this one may do for the next
        elif waiter.granted.done() and not waiter.granted.cancelled():
            self.finished(waiter.granted.result())

    def _serve(self) -> None:
        """Give what is in hand to those who wait, in the order they came."""
        while self._waiters:
            first = self._waiters[0]
            if first.granted.done():
                self._waiters.popleft()
                continue
            grant = self._desk.take(self._clock.now(), first.used, first.prefer)
            if grant is None:
                break
            self._waiters.popleft()
            first.granted.set_result(grant)
        self._desk.waiting = len(self._waiters)

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
            if self._desk.silent:
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
