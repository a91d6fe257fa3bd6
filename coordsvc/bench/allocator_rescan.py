"""A plain allocator, to compare with: at each event it looks at all claims and all nodes again.

It serves the same claims in the same order (fair shares of tenants, then of agents, then names),
and puts each on the node with the most room. It is no straw man: what is held is kept in sums,
not counted again, and where claims are alike, one that finds no room speaks for all. It has no
guarantees, gangs, expiry or recovery, which the production core has.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordsvc.core.allocator import Allocator
from coordsvc.core.filters import NodeFilter
from coordsvc.core.messages import (
    Accepted,
    Effect,
    Event,
    Finished,
    Freed,
    Granted,
    SendOffer,
    Wanted,
)
from coordsvc.core.offers import ACCEPTED, RELEASED, Offer, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.shares import Share, dominant_share
from coordsvc.core.units import SECOND, AgentId, DeskId, Epoch, Instant, Micros, NodeId, OfferId

LASTS_US = Micros(10 * SECOND)


@dataclass(slots=True)
class PlainNode:
    """A node."""

    node: NodeId
    attributes: Mapping[str, str]
    free: Resources


@dataclass(slots=True)
class PlainDesk:
    """A desk, and what it wants."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    where: NodeFilter
    waiting: int = 0
    issued: int = 0


@dataclass(slots=True)
class Rescan:
    """The plain allocator."""

    epoch: Epoch
    nodes: dict[NodeId, PlainNode]
    desks: dict[DeskId, PlainDesk]
    total: Resources
    offers: dict[OfferId, Offer]
    last: OfferId
    held: defaultdict[str, Resources] = field(default_factory=lambda: defaultdict(Resources))
    """By agent, and by tenant."""

    @classmethod
    def of(cls, core: Allocator) -> "Rescan":
        """Return one that knows what the production core knows now."""
        ledger = core.ledger
        nodes = {
            node: PlainNode(node, part.attributes, part.free)
            for node in ledger.capacity
            for part in ledger.rooms.of(node)
        }
        desks = {
            desk: PlainDesk(
                desk, state.agent, state.bundle, state.where, state.waiting, state.issued
            )
            for desk, state in core.desks.items()
        }
        plain = cls(core.epoch, nodes, desks, ledger.total, dict(ledger.offers), core.last_issued())
        for offer in plain.offers.values():
            plain._hold(offer)
        return plain

    def handle(self, now: Instant, event: Event) -> list[Effect]:
        """Apply one event, then offer what is free."""
        effects: list[Effect] = []
        match event:
            case Wanted(desk, waiting):
                self.desks[desk].waiting = waiting
            case Accepted(offer_id):
                accepted = self.offers[offer_id].to(ACCEPTED, now)
                self.offers[offer_id] = accepted
                desk_of = self.desks[accepted.desk]
                desk_of.waiting -= 1
                desk_of.issued -= 1
                effects.append(Granted(accepted))
            case Finished(offer_id):
                released = self.offers.pop(offer_id).to(RELEASED, now)
                self.nodes[released.node].free += released.bundle
                for role in _way_up(released.agent):
                    self.held[role] -= released.bundle
                effects.append(Freed(released))
            case other:
                raise AssertionError(f"a lease knows no {type(other).__name__}")
        while (sent := self._next(now)) is not None:
            effects.append(sent)
        return effects

    def _next(self, now: Instant) -> SendOffer | None:
        """Make the next offer: the first claim, in order, that has room anywhere."""
        claims = [desk for desk in self.desks.values() if desk.waiting > desk.issued]
        in_vain: set[tuple[Resources, NodeFilter]] = set()
        for desk in sorted(claims, key=self._place):
            if (desk.bundle, desk.where) in in_vain:
                continue
            if (node := self._most_room(desk)) is not None:
                return self._issue(now, desk, node)
            in_vain.add((desk.bundle, desk.where))
        return None

    def _place(self, desk: PlainDesk) -> tuple[Share | str, ...]:
        agent, tenant = _way_up(desk.agent)
        return self._share(tenant), tenant, self._share(agent), agent, desk.desk

    def _share(self, role: str) -> Share:
        return dominant_share(self.held[role], self.total)

    def _most_room(self, desk: PlainDesk) -> PlainNode | None:
        best, fits_best = None, 0
        for node in self.nodes.values():
            if node.free.covers(desk.bundle) and desk.where.suits(node.attributes):
                fits = node.free.times_held(desk.bundle)
                if fits > fits_best:
                    best, fits_best = node, fits
        return best

    def _issue(self, now: Instant, desk: PlainDesk, node: PlainNode) -> SendOffer:
        self.last = OfferId(self.last + 1)
        offer = Offer(
            offer_id=self.last,
            agent=desk.agent,
            desk=desk.desk,
            node=node.node,
            bundle=desk.bundle,
            expires_at=Instant(now + LASTS_US),
            since=now,
        )
        self.offers[offer.offer_id] = offer
        node.free -= offer.bundle
        desk.issued += 1
        self._hold(offer)
        ticket = Ticket(
            epoch=self.epoch,
            offer_id=offer.offer_id,
            node=node.node,
            bundle=offer.bundle,
            lasts=LASTS_US,
            attributes=node.attributes,
        )
        return SendOffer(offer, ticket)

    def _hold(self, offer: Offer) -> None:
        for role in _way_up(offer.agent):
            self.held[role] += offer.bundle


def _way_up(agent: AgentId) -> tuple[str, str]:
    """Return the agent and its tenant."""
    return agent, agent.partition("/")[0]
