"""Who holds what. The one place where resources change hands.

Sums are kept as they change, so that a question costs the same on one node and on thousands.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from coordsvc.core.errors import Overdraft, UnknownOffer
from coordsvc.core.offers import HOLDING, ISSUED, Offer, OfferState
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, NodeId, OfferId

NOTHING = Resources()


@dataclass(slots=True)
class Ledger:
    """Capacity by node, and the offers that hold some of it. Ended offers are forgotten."""

    capacity: dict[NodeId, Resources] = field(default_factory=dict)
    free: dict[NodeId, Resources] = field(default_factory=dict)
    total: Resources = NOTHING
    offers: dict[OfferId, Offer] = field(default_factory=dict)
    _held: defaultdict[AgentId, Resources] = field(default_factory=lambda: defaultdict(Resources))
    _on: defaultdict[NodeId, dict[OfferId, None]] = field(default_factory=lambda: defaultdict(dict))
    _at: defaultdict[DeskId, dict[OfferId, None]] = field(default_factory=lambda: defaultdict(dict))

    def add_node(self, node: NodeId, capacity: Resources) -> None:
        """Enter a node of which nothing is held."""
        assert node not in self.capacity, "a node joins once"
        self.capacity[node] = self.free[node] = capacity
        self.total += capacity

    def remove_node(self, node: NodeId) -> None:
        """Strike out a node of which nothing is held any more."""
        assert not self._on[node], "end a node's offers first"
        self.total -= self.capacity.pop(node)
        del self.free[node], self._on[node]

    def held_by(self, agent: AgentId) -> Resources:
        """Return what `agent` holds over all nodes: an outstanding offer counts as allocated."""
        return self._held[agent]

    def on_node(self, node: NodeId) -> tuple[Offer, ...]:
        """Return the offers that hold some of `node`, oldest first."""
        return tuple(self.offers[offer_id] for offer_id in self._on[node])

    def issued_to(self, desk: DeskId) -> tuple[Offer, ...]:
        """Return the offers that `desk` may still accept, oldest first."""
        return tuple(self.offers[offer_id] for offer_id in self._at[desk])

    def issued_count(self, desk: DeskId) -> int:
        """Return how many offers `desk` may still accept."""
        return len(self._at[desk])

    def enter(self, offer: Offer) -> None:
        """Enter an offer that holds resources: a new one, or one that an engine reports."""
        assert offer.offer_id not in self.offers, "offer ids are never reused"
        assert offer.state in HOLDING, f"{offer.state.name} holds nothing"
        assert self.free[offer.node].covers(offer.bundle), "the allocator offered what it lacks"
        self.offers[offer.offer_id] = offer
        self._on[offer.node][offer.offer_id] = None
        self._book(offer, offer.bundle)
        if offer.state is ISSUED:
            self._at[offer.desk][offer.offer_id] = None

    def move(
        self, offer_id: OfferId, state: OfferState, voided_as: OfferState | None = None
    ) -> Offer:
        """Move an offer along its table; in an end state its bundle is free again."""
        before = self.find(offer_id)
        moved = before.to(state, voided_as)
        if before.state is ISSUED:
            del self._at[before.desk][offer_id]
        if state in HOLDING:
            self.offers[offer_id] = moved
            return moved
        del self.offers[offer_id], self._on[before.node][offer_id]
        self._unbook(before, before.bundle)
        return moved

    def shrink(self, offer_id: OfferId, used: Resources) -> Offer:
        """Leave `used` of an offer's bundle with it; the rest is free again."""
        offer = self.find(offer_id)
        if not offer.bundle.covers(used):
            raise Overdraft(f"offer {offer_id} holds {offer.bundle}, not {used}")
        if used == offer.bundle:
            return offer
        self._unbook(offer, offer.bundle - used)
        self.offers[offer_id] = smaller = replace(offer, bundle=used)
        return smaller

    def find(self, offer_id: OfferId) -> Offer:
        """Return an offer that still holds resources, or refuse."""
        try:
            return self.offers[offer_id]
        except KeyError:
            raise UnknownOffer(f"offer {offer_id} holds nothing here") from None

    def check(self) -> None:
        """Assert that the running sums are what a plain re-count gives; for tests and debugging."""
        for node, capacity in self.capacity.items():
            assert self.free[node] == capacity - _sum(iter(self.on_node(node))), node
        for agent, held in self._held.items():
            assert held == _sum(o for o in self.offers.values() if o.agent == agent), agent

    def _book(self, offer: Offer, amount: Resources) -> None:
        self.free[offer.node] -= amount
        self._held[offer.agent] += amount

    def _unbook(self, offer: Offer, amount: Resources) -> None:
        self.free[offer.node] += amount
        self._held[offer.agent] -= amount


def _sum(offers: Iterator[Offer]) -> Resources:
    return sum((offer.bundle for offer in offers), start=NOTHING)
