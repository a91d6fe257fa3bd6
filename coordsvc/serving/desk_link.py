"""A desk with its line to the allocator: one sender that batches, one listener that waits.

A phase that finds an offer in hand never waits for either. The allocator's silence is noticed by
a timer of the desk's own, because Ray says that an actor died only after about a second.
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

    def start(self) -> None:
        """Begin to listen; the running loop is the desk's from now on."""
        self._listening = asyncio.create_task(self._listen())

    def stop(self) -> None:
        """End the line; what is held lapses."""
        for task in (self._listening, self._sending):
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
            self._desk.waiting = len(self._waiters)
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
            await self._exchange(0.0)
        except AllocatorSilent:
            await asyncio.sleep(RETRY_S)
        finally:
            self._sending = None
        self._arm()

    async def _listen(self) -> None:
        while True:
            try:
                await self._exchange(LISTEN_S)
            except AllocatorSilent:
                await asyncio.sleep(RETRY_S)

    async def _exchange(self, wait_s: float) -> None:
        sent = self._clock.now()
        report = self._desk.report(sent)
        loop = asyncio.get_running_loop()
        patience = wait_s + self._desk.terms.silent_after_us / SECOND
        alarm = loop.call_later(patience, self._fell_silent)
        try:
            reply = await self._pool.exchange(report, wait_s)
        except AllocatorSilent:
            self._fell_silent()
            raise
        finally:
            alarm.cancel()
        self._desk.heard(sent, self._clock.now(), reply, waited=wait_s > 0)
        self._serve()

    def _fell_silent(self) -> None:
        self._desk.fell_silent()
        self._serve()
