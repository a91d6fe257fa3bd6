"""Ray's door to the allocator: one mailbox in front of one state machine.

A plain class; `coordsvc.serving.actors` makes it an actor. Its state is soft: after a death Ray
starts it again, it claims the next epoch, and learns from engines and desks what there is.
"""

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from coordsvc.core.allocator import Allocator
from coordsvc.core.computed import BIN_US
from coordsvc.core.errors import BadRequest, NodeGone
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.hindsight.codec import to_plain
from coordsvc.core.hindsight.explain import Explanation, explain
from coordsvc.core.messages import (
    AskBack,
    DeskJoined,
    DeskLost,
    Drained,
    Effect,
    Event,
    Freed,
    GangRefused,
    Granted,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Preempt,
    Reconciled,
    Refused,
    SendOffer,
    TermsChanged,
    Ticked,
    Void,
    Voided,
    Withdraw,
)
from coordsvc.core.offers import Offer
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    SECOND,
    DeskId,
    Epoch,
    NodeId,
    seconds,
    since,
)
from coordsvc.ports import Clock
from coordsvc.serving.desk_line import DeskLine
from coordsvc.serving.pool import EngineLink, NodeCard, Watched
from coordsvc.serving.tally import Tally
from coordsvc.telemetry.decision_log import DecisionLog
from coordsvc.telemetry.pool import PoolSnapshot

log = logging.getLogger(__name__)

WATCH_S = 1.0
"""How long an engine may keep a watch call: the rhythm of its word, and of reconciliation."""
TICK_S = 0.5
"""How often time alone is told to the core: expiries, and desks that have gone silent."""
LEAVING_WATCH_S = 0.1
"""The same of an engine that is to be stopped: its placement group waits for the last phase."""
LEFT_MAX = 1_024
"""Engines remembered not to take in again; each asks until its process ends."""
DESK_SILENT_S = 8
"""A desk listens every 2 s; one unheard for so long is gone."""


def _forget(deployed: Terms, terms: Terms) -> None:
    del deployed, terms


class AllocatorActor:
    """Stamps each event with the time, applies it, and has the effects carried out, in order."""

    def __init__(
        self,
        epoch: Epoch,
        terms: Terms,
        clock: Clock,
        link: Callable[[NodeCard], EngineLink],
        publish: Callable[[PoolSnapshot], None],
        decisions: DecisionLog | None = None,
        *,
        deployed: Terms | None = None,
        remember: Callable[[Terms, Terms], None] = _forget,
    ) -> None:
        """`terms` go on from those that were `deployed`, if an operator has changed them since.

        `remember` is told both whenever one changes: the next life of this actor begins with them.
        """
        self._core = Allocator(epoch=epoch, terms=terms)
        self._deployed = deployed or terms
        self._remember = remember
        self._decisions = decisions
        self._clock = clock
        self._link = link
        self._publish = publish
        self._lines: dict[DeskId, DeskLine] = {}
        self._links: dict[NodeId, EngineLink] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: deque[NodeId] = deque(maxlen=LEFT_MAX)
        self._tally = Tally(self._core, clock)
        self._superseded = False

    def start(self) -> None:
        """Begin to keep time; the running loop is the allocator's from now on."""
        self._spawn(self._keep_time())
        self._spawn(self._keep_account())
        if self._decisions is not None:
            try:
                self._decisions.begin(self._core)
            except OSError:
                log.exception("no decision log is kept: its folder cannot be written")
                self._decisions = None

    async def join(self, card: NodeCard) -> None:
        """Fence the engine and take it into the pool, unless that is under way already."""
        known = card.node in self._links or card.node in self._leaving
        if not known and not self._superseded:
            self._links[card.node] = self._link(card)
            self._spawn(self._keep(card))

    async def exchange(self, report: DeskReport, wait_s: float) -> DeskReply:
        """Apply what happened at a desk; answer with what is new, after `wait_s` at the latest."""
        line = self._lines.get(report.desk)
        if line is None:
            line = self._lines[report.desk] = DeskLine(self._clock.now())
            refusal = self._tell(
                DeskJoined(report.desk, report.agent, report.bundle, report.least, report.where)
            )
            if refusal is not None:
                del self._lines[report.desk]
                return DeskReply(epoch=self._core.epoch, refused=refusal.why)
        line.heard = self._clock.now()
        for event in report.told():
            self._tell(event)
        if wait_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await line.something()
        line.heard = self._clock.now()
        return line.told(self._core.epoch, pressed=self._core.pressed)

    async def status(self) -> dict[str, Any]:
        """Return what the pool looks like now, for people and tests."""
        ledger = self._core.ledger
        return {
            "epoch": self._core.epoch.n,
            "run": self._core.epoch.run,
            "pid": os.getpid(),
            "nodes": {
                node: {"capacity": str(capacity), "free": str(ledger.free(node))}
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
            "policy": self._core.terms.policy.name,
            "draining": sorted(self._core.books.recall.draining),
            "limits_met": dict(self._core.limits_met),
            **self._tally.status(),
        }

    async def settle(self, terms: Terms) -> None:
        """Take the terms that a deployment was made with, if they are other ones than the last.

        Every engine replica says them when it starts; a policy chosen since then stays.
        """
        if terms != self._deployed:
            self._deployed = terms
            await self.configure(terms)

    async def explain(self, **asked: Any) -> tuple[dict[str, Any] | None, str | None]:
        """Return why an agent, a desk or a turn waits, as plain data; or why nobody can say."""
        try:
            told = explain(self._core, self._clock.now(), **asked)
        except BadRequest as error:
            return None, str(error)
        return to_plain(told, Explanation), None

    async def configure(self, terms: Terms) -> str | None:
        """Offer on other terms from now on; return why not, if they cannot be."""
        refusal = self._tell(TermsChanged(terms))
        if refusal is not None:
            return refusal.why
        self._remember(self._deployed, terms)
        return None

    async def choose_policy(self, name: str) -> str | None:
        """Serve by another policy from now on; return why not, if there is no such one.

        What it takes beside its name is what the deployment said.
        """
        policy = replace(self._core.terms.policy, name=name)
        return await self.configure(replace(self._core.terms, policy=policy))

    async def drain(self, node: NodeId, within_s: float, *, preempt: bool) -> str | None:
        """Empty a node: nothing more is offered there; return why not, if it cannot be spared.

        With `preempt`, phases that still run there after `within_s` go on elsewhere.
        """
        refusal = self._tell(NodeDraining(node, seconds(within_s), preempt))
        return refusal.why if refusal else None

    async def reopen(self, node: NodeId) -> str | None:
        """Offer a draining node again; return why not, if it does not drain."""
        refusal = self._tell(NodeReopened(node))
        return refusal.why if refusal else None

    def _tell(self, event: Event) -> Refused | None:
        """Apply an event, and have its effects carried out; return its refusal, if it was."""
        refusal: Refused | None = None
        now = self._clock.now()
        effects = self._core.handle(now, event)
        if self._decisions is not None:
            self._decisions.hand(self._core, now, event, effects)
        for effect in effects:
            if isinstance(effect, Refused):
                refusal = effect
            self._carry_out(effect)
        return refusal

    def _carry_out(self, effect: Effect) -> None:
        self._tally.effect(effect)
        match effect:
            case SendOffer(offer, ticket):
                self._line(offer.desk).offer(ticket)
            case Withdraw(offer):
                self._line(offer.desk).withdraw(offer.offer_id)
            case AskBack(offer, within):
                self._line(offer.desk).ask_back(offer.offer_id, within)
            case GangRefused(gang, desk, why):
                self._line(desk).refuse_gang(gang, why)
            case Void(offer):
                self._spawn(self._void(offer))
            case Preempt(offer):
                self._spawn(self._preempt(offer))
            case Drained(node):
                log.info("node %s is drained", node)
            case Granted() | Freed() | Refused():
                pass  # counted

    def _line(self, desk: DeskId) -> DeskLine:
        """Return a desk's line; of one that is gone, a line that leads nowhere."""
        return self._lines.get(desk) or DeskLine(self._clock.now())

    async def _preempt(self, offer: Offer) -> None:
        """Have the engine end it; that it has ended comes with the engine's word."""
        if (link := self._links.get(offer.node)) is not None:
            with suppress(NodeGone):
                await link.preempt(offer.offer_id)

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
        joined, leaving = False, None
        try:
            running = await link.fence(self._core.epoch, self._core.last_issued())
            if running is None:
                self._superseded = True
                return
            self._tell(
                NodeJoined(card.node, card.capacity, card.attributes, running, card.reserved)
            )
            joined = True
            leaving = self._spawn(self._empty_when_left(card.node, link))
            while not (self._superseded or self._is_emptied(card.node)):
                wait_s = LEAVING_WATCH_S if card.node in self._leaving else WATCH_S
                self._watched(card.node, await link.watch(self._core.epoch, wait_s))
        except NodeGone:
            pass
        finally:
            if leaving is not None:
                leaving.cancel()
            del self._links[card.node]
            self._tally.node_gone(card.node)
            if joined:
                self._tell(NodeLost(card.node))

    async def _empty_when_left(self, node: NodeId, link: EngineLink) -> None:
        """Once Serve has chosen to stop an engine, take back what is unstarted there.

        What runs may end. Serve waits for the last call, which is our watch: it ends after that.
        """
        await link.left()
        self._leaving.append(node)
        log.info("engine %s is to be stopped: it is being emptied", node)
        self._tell(NodeDraining(node, self._core.terms.drain_us, preempt=True))

    def _is_emptied(self, node: NodeId) -> bool:
        return node in self._leaving and not self._core.ledger.on_node(node)

    def _watched(self, node: NodeId, word: Watched) -> None:
        if word.superseded:
            self._superseded = True
            return
        self._tally.word(self._clock.now(), node, word)
        self._tell(Reconciled(node, word.running, word.finished, word.cached))

    async def _keep_account(self) -> None:
        """Look at the pool for the fleet's account, as often as engines' bins are cut at most."""
        while True:
            rest_s = self._tally.look(self._clock.now())
            await asyncio.sleep(max(BIN_US / SECOND, rest_s))

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.now()
            for desk, line in list(self._lines.items()):
                if since(line.heard, now) > DESK_SILENT_S * SECOND:
                    del self._lines[desk]
                    self._tell(DeskLost(desk))
            self._tell(Ticked())
            self._publish(self._tally.snapshot(self._decisions))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
