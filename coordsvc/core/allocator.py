"""The Mesos-style allocator, as a state machine: events in, effects out.

Rule 1: every decision about resources is made in this package.
Rule 2: nothing in this package knows the time, the network, Ray, or chance. The time arrives
with each event, and what should happen next leaves as effects.
Rule 3: a bundle returns to the pool only on the engine's word (finished, voided, dead), or on
the desk's for an offer that it never started. Expiry and rescission ask the engine first.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from coordsvc.core.errors import ProtocolError
from coordsvc.core.ledger import Ledger
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Finished,
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
    Wanted,
    Withdraw,
)
from coordsvc.core.offers import (
    ACCEPTED,
    DECLINED,
    EXPIRED,
    ISSUED,
    RELEASED,
    RESCINDED,
    VOIDING,
    Offer,
    OfferState,
    Ticket,
)
from coordsvc.core.policies import Claim, Policy
from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.resources import Resources
from coordsvc.core.units import (
    MILLISECOND,
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    Instant,
    Micros,
    NodeId,
    OfferId,
    after,
)

IDS_PER_EPOCH_BITS = 40
"""Offer ids of two epochs never meet: epoch n numbers from n * 2**40."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms on which offers are made."""

    offer_lasts_us: Micros = Micros(10 * SECOND)
    """How long a desk may hold an offer. Mandatory: Mesos's default, for ever, lets one hoard."""
    offer_margin_us: Micros = Micros(500 * MILLISECOND)
    """How much longer the allocator waits before it voids one: what a message may take."""
    offers_per_desk_max: int = 256
    """Bounds what one desk may ask for; above it, asking for more changes nothing."""
    refuse_for_max_us: Micros = Micros(60 * SECOND)
    """Bounds a filter, so that no node is refused for ever by mistake."""
    unseen_max: int = 2
    """Reports of an engine in a row that may lack an accepted offer before it is voided."""
    weights: Mapping[AgentId, int] = field(default_factory=dict)
    """Shares of agents relative to each other; 1 where nothing is said."""


@dataclass(slots=True)
class DeskState:
    """What the allocator knows of one desk."""

    agent: AgentId
    bundle: Resources
    waiting: int = 0
    ahead: int = 0
    refused_until: dict[NodeId, Instant] = field(default_factory=dict)


@dataclass(slots=True)
class Allocator:
    """Offers free bundles to desks, by a policy, and takes them back only when that is safe."""

    epoch: Epoch
    terms: Terms = field(default_factory=Terms)
    policy: Policy = field(default_factory=FairShare)
    ledger: Ledger = field(default_factory=Ledger)
    desks: dict[DeskId, DeskState] = field(default_factory=dict)
    _attributes: dict[NodeId, Mapping[str, str]] = field(default_factory=dict)
    _expiries: list[tuple[Instant, OfferId]] = field(default_factory=list)
    _unseen: dict[OfferId, int] = field(default_factory=dict)
    _issued: int = 0
    _now: Instant = Instant(0)

    def handle(self, now: Instant, event: Event) -> list[Effect]:
        """Apply one event, then offer whatever it made free.

        A clock that steps back is taken to stand still.
        """
        self._now = now = max(now, self._now)
        effects = self._expire(now)
        try:
            effects += self._apply(now, event)
        except ProtocolError as refusal:
            effects.append(Refused(event, f"{type(refusal).__name__}: {refusal}"))
        return effects + self._offer(now) + self._reclaim(now)

    def next_expiry(self) -> Instant | None:
        """Return when a `Ticked` is due at the latest: an offer runs out, or a refusal ends."""
        return self._expiries[0][0] if self._expiries else None

    def last_issued(self) -> OfferId:
        """Return the highest offer id of this epoch so far; a fence must not honour it or less."""
        return OfferId((self.epoch.n << IDS_PER_EPOCH_BITS) + self._issued)

    def _apply(self, now: Instant, event: Event) -> list[Effect]:
        match event:
            case NodeJoined():
                return self._node_joined(now, event)
            case NodeLost(node):
                return self._node_lost(node)
            case Reconciled():
                return self._reconcile(event)
            case Voided(offer_id, was_started):
                return self._voided(offer_id, was_started=was_started)
            case DeskJoined(desk, agent, bundle):
                return self._desk_joined(desk, agent, bundle)
            case DeskLost(desk):
                return self._desk_lost(desk)
            case Wanted(desk, waiting, ahead):
                return self._wanted(desk, waiting, ahead)
            case Accepted(offer_id, used):
                return self._accept(offer_id, used)
            case Declined(offer_id, refuse_for):
                return self._decline(now, offer_id, refuse_for)
            case Finished(offer_id):
                return self._finish(offer_id)
            case Ticked():
                return []
            case _:
                assert_never(event)

    def _node_joined(self, now: Instant, event: NodeJoined) -> list[Effect]:
        node = event.node
        if node in self.ledger.capacity:
            raise ProtocolError(f"node {node} has joined already")
        self.ledger.add_node(node, event.capacity)
        self._attributes[node] = dict(event.attributes)
        effects: list[Effect] = []
        for grant in event.running:
            offer = Offer(
                offer_id=grant.offer_id,
                agent=grant.agent,
                desk=grant.desk,
                node=node,
                bundle=grant.bundle,
                expires_at=now,
                state=ACCEPTED,
            )
            self.ledger.enter(offer)
            effects.append(Granted(offer))
        return effects

    def _node_lost(self, node: NodeId) -> list[Effect]:
        if node not in self.ledger.capacity:
            raise ProtocolError(f"node {node} is not here")
        effects: list[Effect] = []
        for offer in self.ledger.on_node(node):
            if offer.state is ISSUED:
                effects.append(Withdraw(offer))
            effects.append(self._free(offer.offer_id, RESCINDED))
        self.ledger.remove_node(node)
        del self._attributes[node]
        for desk in self.desks.values():
            desk.refused_until.pop(node, None)
        return effects

    def _reconcile(self, event: Reconciled) -> list[Effect]:
        if event.node not in self.ledger.capacity:
            raise ProtocolError(f"node {event.node} is not here")
        effects: list[Effect] = []
        for offer_id in event.finished:
            if offer_id in self.ledger.offers:
                effects += self._finish(offer_id)
        for offer in self.ledger.on_node(event.node):
            if offer.offer_id in event.running:
                self._unseen.pop(offer.offer_id, None)
                if offer.state is not ACCEPTED:
                    effects.append(Granted(self.ledger.move(offer.offer_id, ACCEPTED)))
            elif offer.state is not ISSUED:
                effects += self._not_seen(offer)
        return effects

    def _not_seen(self, offer: Offer) -> list[Effect]:
        """Ask about an offer whose work, or whose voiding, seems not to reach its engine."""
        self._unseen[offer.offer_id] = unseen = self._unseen.get(offer.offer_id, 0) + 1
        return [Void(offer)] if unseen >= self.terms.unseen_max else []

    def _voided(self, offer_id: OfferId, *, was_started: bool) -> list[Effect]:
        offer = self.ledger.find(offer_id)
        if was_started:
            if offer.state is VOIDING:
                return [Granted(self.ledger.move(offer_id, ACCEPTED))]
            return []
        if offer.state is ISSUED:
            raise ProtocolError(f"offer {offer_id} was not to be voided")
        return [self._free(offer_id, offer.voided_as or RELEASED)]

    def _desk_joined(self, desk: DeskId, agent: AgentId, bundle: Resources) -> list[Effect]:
        if desk in self.desks:
            raise ProtocolError(f"desk {desk} has joined already")
        if not bundle:
            raise ProtocolError(f"desk {desk} asks for bundles of nothing")
        self.desks[desk] = DeskState(agent, bundle)
        return []

    def _desk_lost(self, desk: DeskId) -> list[Effect]:
        if self.desks.pop(desk, None) is None:
            raise ProtocolError(f"desk {desk} is not here")
        return [self._void(offer, RESCINDED) for offer in self.ledger.issued_to(desk)]

    def _wanted(self, desk: DeskId, waiting: int, ahead: int) -> list[Effect]:
        state = self._desk(desk)
        if waiting < 0 or ahead < 0:
            raise ProtocolError(f"desk {desk} wants {waiting} and {ahead} offers")
        state.waiting, state.ahead = waiting, ahead
        return []

    def _accept(self, offer_id: OfferId, used: Resources) -> list[Effect]:
        offer = self.ledger.find(offer_id)
        if not offer.bundle.covers(used):
            self.ledger.shrink(offer_id, used)  # raises the refusal, before anything has moved
        self.ledger.move(offer_id, ACCEPTED)
        self._waited_for(offer.desk)
        return [Granted(self.ledger.shrink(offer_id, used))]

    def _decline(self, now: Instant, offer_id: OfferId, refuse_for: Micros) -> list[Effect]:
        offer = self.ledger.find(offer_id)
        freed = self._free(offer_id, DECLINED)
        if refuse_for > 0 and (state := self.desks.get(offer.desk)):
            bounded = min(refuse_for, self.terms.refuse_for_max_us)
            state.refused_until[offer.node] = until = after(now, bounded)
            heapq.heappush(self._expiries, (until, offer_id))
        return [freed]

    def _finish(self, offer_id: OfferId) -> list[Effect]:
        effects: list[Effect] = []
        if (offer := self.ledger.find(offer_id)).state is not ACCEPTED:
            effects += self._accept(offer_id, offer.bundle)
        return [*effects, self._free(offer_id, RELEASED)]

    def _free(self, offer_id: OfferId, end: OfferState) -> Freed:
        freed = Freed(self.ledger.move(offer_id, end))
        self._unseen.pop(offer_id, None)
        return freed

    def _void(self, offer: Offer, end: OfferState) -> Void:
        return Void(self.ledger.move(offer.offer_id, VOIDING, voided_as=end))

    def _waited_for(self, desk: DeskId) -> None:
        """Count a started phase as no longer waiting; the desk's next report will say so too."""
        if (state := self.desks.get(desk)) and state.waiting:
            state.waiting -= 1

    def _desk(self, desk: DeskId) -> DeskState:
        try:
            return self.desks[desk]
        except KeyError:
            raise ProtocolError(f"desk {desk} has not joined") from None

    def _expire(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        while self._expiries and self._expiries[0][0] <= now:
            _, offer_id = heapq.heappop(self._expiries)
            offer = self.ledger.offers.get(offer_id)
            if offer and offer.state is ISSUED:
                effects += [Withdraw(offer), self._void(offer, EXPIRED)]
        return effects

    def _offer(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        kept: set[NodeId] = set()  # where a phase waits for room, nothing is offered ahead
        claims = self._claims()
        while claims:
            claim = self.policy.choose(tuple(claims.values()), self.ledger.total)
            node = self._place(now, claim, kept if claim.waiting <= 0 else ())
            if node is None:
                if claim.waiting > 0:
                    kept.update(self._suited(now, claim))
                del claims[claim.desk]
                continue
            effects.append(self._issue(now, claim, node))
            claims = self._claims(among=claims)
        return effects

    def _claims(self, among: Mapping[DeskId, Claim] | None = None) -> dict[DeskId, Claim]:
        """Return what each desk that wants another offer claims."""
        claims: dict[DeskId, Claim] = {}
        for desk in self.desks if among is None else among:
            state, issued = self.desks[desk], self.ledger.issued_count(desk)
            if issued < min(state.waiting + state.ahead, self.terms.offers_per_desk_max):
                claims[desk] = Claim(
                    desk=desk,
                    agent=state.agent,
                    weight=self.terms.weights.get(state.agent, 1),
                    held=self.ledger.held_by(state.agent),
                    bundle=state.bundle,
                    issued=issued,
                    waiting=state.waiting - issued,
                )
        return claims

    def _suited(self, now: Instant, claim: Claim) -> Iterator[NodeId]:
        """Yield the nodes that the claim would fit if they were empty, and its desk accepts."""
        refused = self.desks[claim.desk].refused_until
        for node, capacity in self.ledger.capacity.items():
            if capacity.covers(claim.bundle) and refused.get(node, now) <= now:
                yield node

    def _place(self, now: Instant, claim: Claim, kept: Collection[NodeId]) -> NodeId | None:
        """Return the node with the most room for the claim, by name where equal; None if none."""
        best: tuple[int, NodeId] | None = None
        for node in self._suited(now, claim):
            free = self.ledger.free[node]
            if free.covers(claim.bundle) and node not in kept:
                rank = (-free.times_held(claim.bundle), node)
                best = rank if best is None else min(best, rank)
        return None if best is None else best[1]

    def _issue(self, now: Instant, claim: Claim, node: NodeId) -> SendOffer:
        self._issued += 1
        offer = Offer(
            offer_id=self.last_issued(),
            agent=claim.agent,
            desk=claim.desk,
            node=node,
            bundle=claim.bundle,
            expires_at=after(now, Micros(self.terms.offer_lasts_us + self.terms.offer_margin_us)),
        )
        self.ledger.enter(offer)
        heapq.heappush(self._expiries, (offer.expires_at, offer.offer_id))
        ticket = Ticket(
            epoch=self.epoch,
            offer_id=offer.offer_id,
            node=node,
            bundle=offer.bundle,
            lasts=self.terms.offer_lasts_us,
            attributes=self._attributes[node],
        )
        return SendOffer(offer, ticket)

    def _reclaim(self, now: Instant) -> list[Effect]:
        """Take back offers held ahead of need, as many as phases wait in vain elsewhere.

        Only where it helps: a phase that no node suits must not cost others their offers.
        """
        if not any(state.waiting for state in self.desks.values()):
            return []
        unmet, nodes = 0, set[NodeId]()
        for claim in self._claims().values():
            if claim.waiting > 0 and (suited := set(self._suited(now, claim))):
                unmet += claim.waiting
                nodes |= suited
        if not unmet:
            return []
        unmet -= sum(1 for o in self.ledger.offers.values() if o.state is VOIDING)
        effects: list[Effect] = []
        while unmet > 0 and (offer := self._held_ahead(nodes)) is not None:
            effects += [Withdraw(offer), self._void(offer, RESCINDED)]
            unmet -= 1
        return effects

    def _held_ahead(self, nodes: Collection[NodeId]) -> Offer | None:
        """Return the youngest offer on `nodes` of the desk that holds most ahead; ties by name."""
        spare = {d: self.ledger.issued_count(d) - s.waiting for d, s in self.desks.items()}
        for desk in sorted(spare, key=lambda desk: (-spare[desk], desk)):
            for offer in reversed(self.ledger.issued_to(desk)):
                if spare[desk] > 0 and offer.node in nodes:
                    return offer
        return None
