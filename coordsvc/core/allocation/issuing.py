"""Makes offers: numbers them, enters them, and writes the tickets that travel."""

import heapq
from dataclasses import dataclass, field

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.dispatch import Choice
from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.allocation.rooms import Part
from coordsvc.core.messages import SendOffer
from coordsvc.core.offers import GATHERED, ISSUED, Offer, OfferState, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.roles import Role
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    AgentId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    TurnId,
    after,
)

IDS_PER_EPOCH_BITS = 40
"""Offer ids of two epochs never meet: epoch n numbers from n * 2**40."""


@dataclass(slots=True)
class Issuer:
    """The one place where offers are made."""

    epoch: Epoch
    terms: Terms
    ledger: Ledger
    cached: dict[NodeId, frozenset[str]] = field(default_factory=dict)
    """Prefixes that each node said it has."""
    expiries: list[tuple[Instant, OfferId]] = field(default_factory=list)
    issued: int = 0

    def last(self) -> OfferId:
        """Return the highest offer id of this epoch so far."""
        return OfferId((self.epoch.n << IDS_PER_EPOCH_BITS) + self.issued)

    def issue(self, now: Instant, choice: Choice) -> SendOffer:
        """Make the chosen offer, and enter it as issued."""
        turn = choice.wait.turn if choice.wait else None
        agent, part = choice.desk.agent, choice.part
        offer = self._make(now, choice.desk, agent, part, choice.bundle, ISSUED, turn=turn)
        self.ledger.enter(offer)
        return self.send(offer, part)

    def set_aside(
        self,
        now: Instant,
        desk: DeskState,
        agent: AgentId,
        part: Part,
        bundle: Resources,
        gang: GangId,
    ) -> Offer:
        """Make an offer of a gang that may still not come about; nobody is told of it."""
        offer = self._make(now, desk, agent, part, bundle, GATHERED, gang=gang)
        self.ledger.enter(offer)
        return offer

    def send(self, offer: Offer, part: Part) -> SendOffer:
        """Return the offer as it travels, and have it expire in time."""
        heapq.heappush(self.expiries, (offer.expires_at, offer.offer_id))
        ticket = Ticket(
            epoch=self.epoch,
            offer_id=offer.offer_id,
            node=offer.node,
            bundle=offer.bundle,
            lasts=self.terms.offer_lasts_us,
            attributes=part.attributes,
            cached=self.cached.get(offer.node, frozenset()),
            revocable=offer.revocable,
            gang=offer.gang,
            meant_for=offer.meant_for,
            agent=offer.agent if offer.gang is not None else None,
        )
        return SendOffer(offer, ticket)

    def expires_at(self, now: Instant) -> Instant:
        """Return when an offer made now is voided, unless it is started before."""
        return after(now, Micros(self.terms.offer_lasts_us + self.terms.offer_margin_us))

    def _make(
        self,
        now: Instant,
        desk: DeskState,
        agent: AgentId,
        part: Part,
        bundle: Resources,
        state: OfferState,
        *,
        gang: GangId | None = None,
        turn: TurnId | None = None,
    ) -> Offer:
        self.issued += 1
        role = self.ledger.roles.get(agent)
        for one in role.way_up():
            one.served = self.issued
        return Offer(
            offer_id=self.last(),
            agent=agent,
            desk=desk.desk,
            node=part.node,
            bundle=bundle,
            expires_at=self.expires_at(now),
            since=now,
            state=state,
            reserved_for=part.reserved_for,
            revocable=self._is_borrowed(role, bundle),
            gang=gang,
            meant_for=turn,
        )

    def _is_borrowed(self, role: Role, bundle: Resources) -> bool:
        """Tell whether the bundle is taken out of what guarantees may need."""
        unmet = self.ledger.roles.unmet
        if not unmet or role.within_guarantee(bundle):
            return False
        free = self.ledger.total - self.ledger.held
        return not free.covers(bundle + unmet)
