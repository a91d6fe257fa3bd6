"""Who holds what. The one place where resources change hands.

Sums are kept as they change, so that a question costs the same on one node and on thousands.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from coordsvc.core.allocation.rooms import Part, Rooms
from coordsvc.core.errors import Overdraft, UnknownOffer
from coordsvc.core.offers import GATHERED, HOLDING, ISSUED, VOIDING, Offer, OfferState
from coordsvc.core.resources import Resources
from coordsvc.core.roles import Roles
from coordsvc.core.units import AgentId, DeskId, Instant, NodeId, OfferId, RoleId

NOTHING = Resources()


@dataclass(slots=True)
class Ledger:
    """Capacity by node, and the offers that hold some of it. Ended offers are forgotten."""

    roles: Roles = field(default_factory=Roles)
    rooms: Rooms = field(default_factory=Rooms)
    capacity: dict[NodeId, Resources] = field(default_factory=dict)
    total: Resources = NOTHING
    held: Resources = NOTHING
    offers: dict[OfferId, Offer] = field(default_factory=dict)
    revocable: dict[OfferId, None] = field(default_factory=dict)
    """Accepted ones that stand on a borrowed guarantee, oldest first."""
    grown: dict[Part, None] = field(default_factory=dict)
    """Where room was made since this was last emptied."""
    _on: defaultdict[NodeId, dict[OfferId, None]] = field(default_factory=lambda: defaultdict(dict))
    _at: defaultdict[DeskId, dict[OfferId, None]] = field(default_factory=lambda: defaultdict(dict))

    def add_node(
        self,
        node: NodeId,
        capacity: Resources,
        attributes: Mapping[str, str] | None = None,
        reserved: Mapping[RoleId, Resources] | None = None,
    ) -> None:
        """Enter a node of which nothing is held; raise `Overdraft` if too much is reserved."""
        assert node not in self.capacity, "a node joins once"
        parts = self.rooms.add(node, capacity, attributes or {}, reserved or {})
        self.grown.update(dict.fromkeys(parts))
        self.capacity[node] = capacity
        self.total += capacity

    def remove_node(self, node: NodeId) -> None:
        """Strike out a node of which nothing is held any more."""
        assert not self._on[node], "end a node's offers first"
        for part in self.rooms.of(node):
            self.grown.pop(part, None)
        self.rooms.remove(node)
        self.total -= self.capacity.pop(node)
        del self._on[node]

    def free(self, node: NodeId) -> Resources:
        """Return what nobody holds of a node, reserved or not."""
        return sum((part.free for part in self.rooms.of(node)), start=NOTHING)

    def held_by(self, agent: AgentId) -> Resources:
        """Return what `agent` holds over all nodes: an outstanding offer counts as allocated."""
        return self.roles.get(agent).held

    def on_node(self, node: NodeId) -> tuple[Offer, ...]:
        """Return the offers that hold some of `node`, oldest first."""
        return tuple(self.offers[offer_id] for offer_id in self._on[node])

    def issued_to(self, desk: DeskId) -> tuple[Offer, ...]:
        """Return the offers that `desk` may still accept, oldest first."""
        return tuple(self.offers[offer_id] for offer_id in self._at[desk])

    def issued_count(self, desk: DeskId) -> int:
        """Return how many offers `desk` may still accept."""
        return len(self._at[desk])

    def in_hand(self, desk: DeskId, offers: Iterable[OfferId]) -> None:
        """Put what `desk` may still accept in this order."""
        if in_order := dict.fromkeys(offers):
            assert in_order.keys() == self._at[desk].keys(), "the order alone changes"
            self._at[desk] = in_order

    def enter(self, offer: Offer) -> None:
        """Enter an offer that holds resources: a new one, or one that an engine reports."""
        assert offer.offer_id not in self.offers, "offer ids are never reused"
        assert offer.state in HOLDING, f"{offer.state.name} holds nothing"
        part = self._part(offer)
        assert part.free.covers(offer.bundle), "the allocator offered what it lacks"
        self.offers[offer.offer_id] = offer
        self._on[offer.node][offer.offer_id] = None
        part.free -= offer.bundle
        part.shelf.changed(part)
        self.held += offer.bundle
        self.roles.book(offer.agent, offer.bundle, 1)
        if offer.state is ISSUED:
            self._at[offer.desk][offer.offer_id] = None
        elif offer.state is VOIDING:
            self._asked(part, 1)

    def move(
        self,
        offer_id: OfferId,
        state: OfferState,
        now: Instant,
        voided_as: OfferState | None = None,
    ) -> Offer:
        """Move an offer along its table; in an end state its bundle is free again."""
        before = self.find(offer_id)
        moved = before.to(state, now, voided_as)
        if before.state is ISSUED:
            self._forget_issued(before)
        elif before.state is VOIDING:
            self._asked(self._part(before), -1)
        elif before.state is GATHERED and state is ISSUED:
            self._at[before.desk][offer_id] = None
        if state not in HOLDING:
            del self.offers[offer_id], self._on[before.node][offer_id]
            self.revocable.pop(offer_id, None)
            self._give_back(before, before.bundle, bundles=1)
            return moved
        self.offers[offer_id] = moved
        if state is VOIDING:
            self._asked(self._part(before), 1)
        elif moved.revocable and state is not ISSUED:
            self.revocable[offer_id] = None
        return moved

    def issue(self, offer_id: OfferId, now: Instant, expires_at: Instant) -> Offer:
        """Issue an offer that was set aside; it expires as if it were made now."""
        moved = replace(self.move(offer_id, ISSUED, now), expires_at=expires_at)
        self.offers[offer_id] = moved
        return moved

    def shrink(self, offer_id: OfferId, used: Resources) -> Offer:
        """Leave `used` of an offer's bundle with it; the rest is free again."""
        offer = self.find(offer_id)
        if used == offer.bundle:
            return offer
        if not offer.bundle.covers(used):
            raise Overdraft(f"offer {offer_id} holds {offer.bundle}, not {used}")
        self._give_back(offer, offer.bundle - used, bundles=0)
        self.offers[offer_id] = smaller = offer.shrunk(used)
        return smaller

    def find(self, offer_id: OfferId) -> Offer:
        """Return an offer that still holds resources, or refuse."""
        try:
            return self.offers[offer_id]
        except KeyError:
            raise UnknownOffer(f"offer {offer_id} holds nothing here") from None

    def part_of(self, node: NodeId, reserved_for: RoleId | None) -> Part:
        """Return the part of a node that is reserved for a role, or for nobody."""
        return self.rooms.parts[node][reserved_for]

    def check(self) -> None:
        """Assert that the running sums are what a plain re-count gives; for tests and debugging."""
        for node, capacity in self.capacity.items():
            held = _sum(iter(self.on_node(node)))
            assert self.free(node) == capacity - held, node
            for part in self.rooms.of(node):
                mine = [o for o in self.on_node(node) if o.reserved_for == part.reserved_for]
                assert part.free == part.capacity - _sum(iter(mine)), part
        for role in self.roles.known.values():
            below = [o for o in self.offers.values() if is_below(o.agent, role.role_id)]
            assert (role.held, role.bundles) == (_sum(iter(below)), len(below)), role.role_id
        assert self.held == _sum(iter(self.offers.values()))

    @staticmethod
    def _asked(part: Part, more: int) -> None:
        part.voiding += more
        part.shelf.voiding += more

    def _part(self, offer: Offer) -> Part:
        return self.rooms.parts[offer.node][offer.reserved_for]

    def _give_back(self, offer: Offer, amount: Resources, *, bundles: int) -> None:
        part = self._part(offer)
        part.free += amount
        part.shelf.changed(part)
        self.grown[part] = None
        self.held -= amount
        self.roles.unbook(offer.agent, amount, bundles)

    def _forget_issued(self, offer: Offer) -> None:
        at = self._at[offer.desk]
        del at[offer.offer_id]
        if not at:
            del self._at[offer.desk]


def is_below(agent: AgentId, role_id: RoleId) -> bool:
    """Tell whether an agent is the role, or below it in the tree."""
    return not role_id or str(agent) == role_id or agent.startswith(f"{role_id}/")


def _sum(offers: Iterator[Offer]) -> Resources:
    return sum((offer.bundle for offer in offers), start=NOTHING)
