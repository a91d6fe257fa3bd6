"""Ray's door to the allocator: one mailbox in front of one state machine.

A plain class; `coordsvc.serving.actors` makes it an actor. Its state is soft: after a death Ray
starts it again, it claims the next epoch, and learns from engines and desks what there is.
"""

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from coordsvc.core.allocator import Allocator, Terms
from coordsvc.core.errors import NodeGone
from coordsvc.core.messages import (
    DeskJoined,
    DeskLost,
    DeskReply,
    DeskReport,
    Effect,
    Event,
    Freed,
    Granted,
    NodeJoined,
    NodeLost,
    Reconciled,
    Refused,
    SendOffer,
    Ticked,
    Void,
    Voided,
    Withdraw,
)
from coordsvc.core.offers import Offer, Ticket
from coordsvc.core.resources import NAMES
from coordsvc.core.units import SECOND, DeskId, Epoch, Instant, NodeId, OfferId, since
from coordsvc.ports import Clock
from coordsvc.serving.pool import EngineLink, NodeCard, Watched
from coordsvc.telemetry.metrics import PoolSnapshot

WATCH_S = 1.0
"""How long an engine may keep a watch call: the rhythm of its word, and of reconciliation."""
TICK_S = 0.5
"""How often time alone is told to the core: expiries, and desks that have gone silent."""
DESK_SILENT_S = 8
"""A desk listens every 2 s; one unheard for so long is gone."""


@dataclass(slots=True)
class DeskLine:
    """What is to be told to one desk, and when it was last heard."""

    heard: Instant
    offers: list[Ticket] = field(default_factory=list)
    withdrawn: list[OfferId] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def something(self) -> None:
        """Return once there is something to tell; what another call has told already is not."""
        while not (self.offers or self.withdrawn):
            self.news.clear()
            await self.news.wait()


class AllocatorActor:
    """Stamps each event with the time, applies it, and has the effects carried out, in order."""

    def __init__(
        self,
        epoch: Epoch,
        terms: Terms,
        clock: Clock,
        link: Callable[[NodeCard], EngineLink],
        publish: Callable[[PoolSnapshot], None],
    ) -> None:
        self._core = Allocator(epoch=epoch, terms=terms)
        self._clock = clock
        self._link = link
        self._publish = publish
        self._lines: dict[DeskId, DeskLine] = {}
        self._links: dict[NodeId, EngineLink] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen_open: set[tuple[str, str]] = set()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._broken: dict[NodeId, int] = {}
        self._refused = 0
        self._superseded = False

    def start(self) -> None:
        """Begin to keep time; the running loop is the allocator's from now on."""
        self._spawn(self._keep_time())

    async def join(self, card: NodeCard) -> None:
        """Fence the engine and take it into the pool, unless that is under way already."""
        if card.node not in self._links and not self._superseded:
            self._links[card.node] = self._link(card)
            self._spawn(self._keep(card))

    async def exchange(self, report: DeskReport, wait_s: float) -> DeskReply:
        """Apply what happened at a desk; answer with what is new, after `wait_s` at the latest."""
        line = self._line(report)
        for event in report.told():
            self._tell(event)
        if wait_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await line.something()
        reply = DeskReply(
            epoch=self._core.epoch,
            offers=tuple(line.offers),
            withdrawn=tuple(line.withdrawn),
        )
        line.offers.clear()
        line.withdrawn.clear()
        line.heard = self._clock.now()
        return reply

    async def status(self) -> dict[str, Any]:
        """Return what the pool looks like now, for people and tests."""
        ledger = self._core.ledger
        return {
            "epoch": self._core.epoch.n,
            "run": self._core.epoch.run,
            "pid": os.getpid(),
            "nodes": {
                node: {"capacity": str(capacity), "free": str(ledger.free[node])}
                for node, capacity in sorted(ledger.capacity.items())
            },
            "desks": {
                desk: {
                    "agent": state.agent,
                    "waiting": state.waiting,
                    "ahead": state.ahead,
                    "offers": ledger.issued_count(desk),
                }
                for desk, state in sorted(self._core.desks.items())
            },
            "offers_open": len(ledger.offers),
            "offers_by_state": Counter(one.state.name.lower() for one in ledger.offers.values()),
            "offers_ended": {f"{agent}.{state}": n for (agent, state), n in self._ended.items()},
            "refused_events": self._refused,
            "broken_reservations": sum(self._broken.values()),
        }

    async def configure(self, terms: Terms) -> None:
        """Take new terms; they hold for offers made from now on."""
        self._core.terms = terms

    def _line(self, report: DeskReport) -> DeskLine:
        if (line := self._lines.get(report.desk)) is None:
            line = self._lines[report.desk] = DeskLine(self._clock.now())
            self._tell(DeskJoined(report.desk, report.agent, report.bundle))
        line.heard = self._clock.now()
        return line

    def _tell(self, event: Event) -> None:
        for effect in self._core.handle(self._clock.now(), event):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendOffer(offer, ticket):
                if (line := self._lines.get(offer.desk)) is not None:
                    line.offers.append(ticket)
                    line.news.set()
            case Withdraw(offer):
                if (line := self._lines.get(offer.desk)) is not None:
                    line.offers = [t for t in line.offers if t.offer_id != offer.offer_id]
                    line.withdrawn.append(offer.offer_id)
                    line.news.set()
            case Void(offer):
                self._spawn(self._void(offer))
            case Freed(offer):
                self._ended[offer.agent, offer.state.name.lower()] += 1
            case Refused():
                self._refused += 1
            case Granted():
                pass

    async def _void(self, offer: Offer) -> None:
        """Ask the engine; should it be dying, its link will say so and that frees the offer."""
        if (link := self._links.get(offer.node)) is None:
            return
        try:
            was_started = await link.void(offer.offer_id)
        except NodeGone:
            return
        self._tell(Voided(offer.offer_id, was_started))

    async def _keep(self, card: NodeCard) -> None:
        """Hold an engine in the pool for as long as it lives."""
        link = self._links[card.node]
        joined = False
        try:
            running = await link.fence(self._core.epoch, self._core.last_issued())
            if running is None:
                self._superseded = True
                return
            self._tell(NodeJoined(card.node, card.capacity, card.attributes, running))
            joined = True
            while not self._superseded:
                self._watched(card.node, await link.watch(self._core.epoch, WATCH_S))
        except NodeGone:
            pass
        finally:
            del self._links[card.node]
            self._broken.pop(card.node, None)
            if joined:
                self._tell(NodeLost(card.node))

    def _watched(self, node: NodeId, word: Watched) -> None:
        if word.superseded:
            self._superseded = True
            return
        self._broken[node] = word.broken_reservations
        self._tell(Reconciled(node, word.running, word.finished))

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.now()
            for desk, line in list(self._lines.items()):
                if since(line.heard, now) > DESK_SILENT_S * SECOND:
                    del self._lines[desk]
                    self._tell(DeskLost(desk))
            self._tell(Ticked())
            self._publish(self._snapshot())

    def _snapshot(self) -> PoolSnapshot:
        ledger = self._core.ledger
        agents = sorted({state.agent for state in self._core.desks.values()})
        open_offers = Counter(
            (str(offer.agent), offer.state.name.lower()) for offer in ledger.offers.values()
        )
        waiting: defaultdict[str, int] = defaultdict(int)
        for state in self._core.desks.values():
            waiting[state.agent] += state.waiting
        self._seen_open.update(open_offers)
        alloc = {
            (agent, name): amount
            for agent in agents
            for name, amount in zip(NAMES, ledger.held_by(agent).amounts(), strict=True)
        }
        return PoolSnapshot(
            epoch=self._core.epoch.n,
            nodes=len(ledger.capacity),
            capacity=dict(zip(NAMES, ledger.total.amounts(), strict=True)),
            alloc={(str(agent), name): amount for (agent, name), amount in alloc.items()},
            open_offers={**dict.fromkeys(self._seen_open, 0), **open_offers},
            ended_offers=dict(self._ended),
            refused_events=self._refused,
            broken_reservations=sum(self._broken.values()),
            waiting=dict(waiting),
        )

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
