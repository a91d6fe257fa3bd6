"""Who gets what is free: the next claim by the policy, and the node with the most room for it.

Nothing here moves a bundle; the allocator does that with what this proposes, and tells of every
change. What costs time is found by index: the next claim in the heaps of its kind
(`queues`), the node in the trees of its shelf (`rooms`). A kind that found no room is not tried
again before room is made on a shelf of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.allocation.queues import Kind, KindKey, Place
from coordsvc.core.allocation.rooms import Part, Shelf, most_room
from coordsvc.core.filters import NodeFilter
from coordsvc.core.policies import Policy
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Instant, NodeId
from coordsvc.core.waits import Wait


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be offered next, to whom."""

    desk: DeskState
    part: Part
    bundle: Resources
    wait: Wait | None
    """The phase that it is meant for; None when it is held ahead, or the desk told of none."""
    ahead: bool


@dataclass(slots=True)
class Dispatch:
    """All claims, in order, and where there may be room for them."""

    ledger: Ledger
    policy: Policy
    offers_per_desk_max: int
    desks: dict[DeskId, DeskState] = field(default_factory=dict)
    kinds: dict[KindKey, Kind] = field(default_factory=dict)
    kind_of: dict[DeskId, Kind] = field(default_factory=dict)
    _on: dict[Shelf, list[Kind]] = field(default_factory=dict)
    _version: int = -1
    """Of the shelves that kinds know."""
    _capacity: Resources = Resources()
    """Of the pool, when roles were last put in order."""

    # What changes

    def join(self, state: DeskState) -> None:
        """Enter a desk."""
        self.desks[state.desk] = state
        kind = self.kind(state.agent, state.bundle, state.least, state.where)
        kind.desks[state.desk] = None
        self.kind_of[state.desk] = kind
        self.changed(state)

    def leave(self, state: DeskState) -> None:
        """Strike a desk out, and its kind with the last of it."""
        state.suppressed = True
        self.changed(state)
        kind = self.kind_of.pop(state.desk)
        del self.desks[state.desk], kind.desks[state.desk]
        kind.picky.pop(state.desk, None)
        self.forget_unused(kind)

    def kind(self, agent: AgentId, bundle: Resources, least: Resources, where: NodeFilter) -> Kind:
        """Return the kind of such claims, entered if it is new."""
        role = self.ledger.roles.get(agent)
        reserving = {shelf.reserved_for for shelf in self.ledger.rooms.shelves.values()}
        mine = tuple(one.role_id for one in role.way_up() if one.role_id in reserving)
        key = KindKey(bundle, least, where, mine)
        if (found := self.kinds.get(key)) is None:
            found = self.kinds[key] = Kind(key, search=least.at_least(where.free_at_least))
            self.ledger.rooms.ask_for(where.names())
            self._version = -1
        return found

    def forget_unused(self, kind: Kind) -> None:
        """Strike out a kind that no desk is of."""
        if not kind.desks and not kind.gangs and kind.key in self.kinds:
            self._keep(kind, keeps=False)
            del self.kinds[kind.key]
            self._version = -1

    def tell_kinds_anew(self) -> None:
        """Sort desks into kinds again: a role has its first reservation."""
        for state in tuple(self.desks.values()):
            suppressed = state.suppressed
            self.leave(state)
            state.suppressed = suppressed
            self.join(state)

    def changed(self, state: DeskState) -> None:
        """Put a desk's claim where it belongs now."""
        kind, role = self.kind_of[state.desk], self.ledger.roles.get(state.agent)
        if state.wants_more(self.offers_per_desk_max) and state.desk not in kind.picky:
            waits = state.waiting > state.issued
            place: Place = (not waits, False, self.policy.desk_key(state.claim()), state.desk)
            kind.put(state.desk, place, role, self.policy, self.ledger.total)
        else:
            kind.strike(state.desk, role, self.policy, self.ledger.total)

    def held_changed(self, agent: AgentId) -> None:
        """Give an agent, and the roles above it, the places that are due to what they hold."""
        role = self.ledger.roles.get(agent)
        for kind in self.kinds.values():
            kind.moved(role, self.policy, self.ledger.total)

    def reorder(self) -> None:
        """Put everything in order anew: the policy, its keys, or the roles' terms changed."""
        for state in self.desks.values():
            state.reorder(self.policy)
            self.changed(state)
        self._reorder_roles()

    def _reorder_roles(self) -> None:
        self._capacity = self.ledger.total
        for kind in self.kinds.values():
            kind.reordered(self.ledger.roles, self.policy, self.ledger.total)

    def no_longer_picky(self, desk: DeskId) -> None:
        """Try a desk again: a refusal of its own has ended."""
        kind = self.kind_of.get(desk)
        if kind is not None and desk in kind.picky:
            del kind.picky[desk]
            self.changed(self.desks[desk])

    # What is to be offered

    def choices(self, now: Instant) -> Iterator[Choice]:
        """Yield what to offer, one after another; each must be entered before the next is asked."""
        self.look_around()
        for kind in self.kinds.values():
            if kind.full or kind.keeps:
                self._keep(kind, keeps=kind.full and kind.someone_waits())
        while (found := self._next()) is not None:
            kind, ahead, state = found
            placed = self.place(kind, state, now, ahead=ahead)
            if placed is None:
                self._no_room(kind, state, ahead=ahead)
                continue
            wait = None if ahead else state.head()
            yield Choice(state, placed, self.bundle(kind, placed), wait, ahead)

    def look_around(self) -> None:
        """Learn of what room has been made, and of which nodes have come and gone."""
        self._learn_of_shelves()
        self._learn_of_room()

    def bundle(self, kind: Kind, part: Part) -> Resources:
        """Return how much of what is free on `part` a claim of this kind is offered."""
        whole = kind.key.bundle
        return whole if part.free.covers(whole) else part.free.at_most(whole)

    def place(self, kind: Kind, state: DeskState, now: Instant, *, ahead: bool) -> Part | None:
        """Return where the claim finds the most room: near its prefix, reserved, or anywhere."""
        head = None if ahead else state.head()
        if head is not None and head.near is not None:
            for part in self._near(kind, head.near):
                if not state.refuses(part.node, now):
                    return part
        if not state.refused_until:
            return self.room(kind, ahead=ahead)
        return self._room_for(kind, state, now, ahead=ahead)

    def room(self, kind: Kind, *, ahead: bool = False) -> Part | None:
        """Return where there is most room for the kind."""
        return most_room(_shelves(kind, ahead=ahead), kind.search)

    def suited(self, kind: Kind) -> list[Shelf]:
        """Return the shelves that the kind may use, whatever is free there."""
        self._learn_of_shelves()
        return kind.shelves

    def kinds_full_and_waiting(self) -> Iterator[Kind]:
        """Yield the kinds of which phases wait in vain."""
        for kind in self.kinds.values():
            if kind.keeps:
                yield kind

    def unmet(self, kind: Kind) -> int:
        """Return how many phases of the kind wait beyond the offers that their desks hold."""
        most = self.offers_per_desk_max
        states = (self.desks[desk] for desk in kind.desks)
        return sum(min(state.unmet, most) for state in states if self._may_have_more(kind, state))

    def _may_have_more(self, kind: Kind, state: DeskState) -> bool:
        """Tell whether room would help: a desk that is silenced, or at its limit, takes none."""
        if not state.unmet or not state.wants_more(self.offers_per_desk_max):
            return False
        return self.ledger.roles.get(state.agent).within_limits(kind.key.bundle)

    def _near(self, kind: Kind, node: NodeId) -> Iterator[Part]:
        for part in self.ledger.rooms.of(node):
            if part.open and part.shelf in kind.shelves and part.free.covers(kind.search):
                yield part

    def _room_for(self, kind: Kind, state: DeskState, now: Instant, *, ahead: bool) -> Part | None:
        def allowed(part: Part) -> bool:
            return not state.refuses(part.node, now)

        return most_room(_shelves(kind, ahead=ahead), kind.search, allowed)

    def _next(self) -> tuple[Kind, bool, DeskState] | None:
        best: tuple[tuple[Place, ...], Kind, DeskId] | None = None
        for kind in self.kinds.values():
            if kind.full or (found := kind.first()) is None:
                continue
            places, desk = found
            if places[0][0] and kind.full_ahead:
                continue
            if best is None or places < best[0]:
                best = (places, kind, desk)
        if best is None:
            return None
        places, kind, desk = best
        return kind, places[0][0], self.desks[desk]

    def _no_room(self, kind: Kind, state: DeskState, *, ahead: bool) -> None:
        if state.refused_until and self.room(kind, ahead=ahead) is not None:
            kind.picky[state.desk] = None
            self.changed(state)
        elif ahead:
            kind.full_ahead = True
        else:
            kind.full = True
            self._keep(kind, keeps=True)

    def _keep(self, kind: Kind, *, keeps: bool) -> None:
        if kind.keeps is keeps:
            return
        kind.keeps = keeps
        for shelf in kind.shelves:
            shelf.kept += 1 if keeps else -1
            if not shelf.kept:
                for other in self._on.get(shelf, ()):
                    other.full_ahead = False

    def _learn_of_room(self) -> None:
        grown = self.ledger.grown
        for part in grown:
            for kind in self._on.get(part.shelf, ()):
                if part.open and part.free.covers(kind.search):
                    kind.full = kind.full_ahead = False
                    kind.grown += 1
                    self._less_picky(kind, part.node)
        grown.clear()
        if self.ledger.total != self._capacity:
            self._reorder_roles()

    def _less_picky(self, kind: Kind, node: NodeId) -> None:
        for desk in [d for d in kind.picky if node not in self.desks[d].refused_until]:
            self.no_longer_picky(desk)

    def _learn_of_shelves(self) -> None:
        rooms = self.ledger.rooms
        if self._version == rooms.version:
            return
        self._version = rooms.version
        self._on = {shelf: [] for shelf in rooms.shelves.values()}
        for shelf in self._on:
            shelf.kept = 0
        for kind in self.kinds.values():
            kind.shelves = sorted(
                (shelf for shelf in self._on if _may_use(kind, shelf)), key=_order
            )
            kind.full = kind.full_ahead = kind.keeps = False
            for shelf in kind.shelves:
                self._on[shelf].append(kind)


def _may_use(kind: Kind, shelf: Shelf) -> bool:
    if shelf.reserved_for is not None and shelf.reserved_for not in kind.key.reservations:
        return False
    return shelf.capacity.covers(kind.search) and kind.key.where.suits(shelf.attributes)


def _order(shelf: Shelf) -> tuple[bool, str, tuple[object, ...]]:
    attributes, capacity, role = shelf.signature
    return (role is None, role or "", (attributes, capacity))


def _shelves(kind: Kind, *, ahead: bool) -> list[Shelf]:
    """Return where the kind may be offered something now."""
    if not ahead:
        return kind.shelves
    return [shelf for shelf in kind.shelves if not shelf.kept]
