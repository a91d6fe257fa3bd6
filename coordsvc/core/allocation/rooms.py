"""Where there is room: nodes that are alike on one shelf, each shelf a tree of largest amounts.

A search and a change both cost the logarithm of the number of nodes: every inner entry of a
shelf's tree holds, for each resource, the largest free amount below it. The largest of two
resources may be on two nodes, so an entry only bounds what is below; the search looks at the
highest bound first, and the first node that it reaches is the best.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from coordsvc.core.resources import Resources
from coordsvc.core.units import NodeId, RoleId

FAN = 8
"""Entries below an inner one. More make the tree lower and each step dearer; 8 measured best."""
NOTHING = Resources()
Signature = tuple[tuple[tuple[str, str], ...], tuple[int, int, int], RoleId | None]


@dataclass(slots=True, eq=False)
class Part:
    """A node's room, or the part of it that is reserved for one role."""

    node: NodeId
    reserved_for: RoleId | None
    capacity: Resources
    free: Resources
    attributes: Mapping[str, str]
    shelf: "Shelf" = field(repr=False)
    place: int = 0
    """On its shelf."""
    open: bool = True
    """False while the node drains: nothing is offered there."""
    voiding: int = 0
    """Offers here whose engine is being asked."""


@dataclass(slots=True, eq=False)
class Shelf:
    """Parts that nobody can tell apart but by their names and what is free."""

    signature: Signature
    attributes: Mapping[str, str]
    """Those that some filter asks for."""
    parts: list[Part | None] = field(default_factory=list)
    voiding: int = 0
    """Offers here whose engines are being asked."""
    kept: int = 0
    """Kinds of phases that wait in vain for room here: nothing is held ahead of need."""
    _vacant: list[int] = field(default_factory=list)
    _levels: list[list[list[int]]] = field(default_factory=lambda: [[[], [], []]])
    """By height, then resource: the largest free amount below each entry. Height 0: the parts;
    the greatest height: one entry for all of them."""

    @property
    def capacity(self) -> Resources:
        """What each part here has when nothing is held of it."""
        return Resources(*self.signature[1])

    @property
    def reserved_for(self) -> RoleId | None:
        """The role that alone may hold something here."""
        return self.signature[2]

    def __len__(self) -> int:
        return len(self.parts) - len(self._vacant)

    def put(self, part: Part) -> None:
        """Enter a part."""
        if self._vacant:
            part.place = heapq.heappop(self._vacant)
            self.parts[part.place] = part
        else:
            part.place = len(self.parts)
            self.parts.append(part)
            self._grow()
        self._enter(part)

    def fill(self, placed: Mapping[int, Part]) -> None:
        """Enter parts in an empty shelf, each at the place that it had on another like it."""
        assert not self.parts, "the shelf is empty"
        for place in range(max(placed, default=-1) + 1):
            self.parts.append(placed.get(place))
            self._grow()
            if place not in placed:
                self._vacant.append(place)  # rising, and so a heap
        for place, part in sorted(placed.items()):
            part.place = place
            self._enter(part)

    def _enter(self, part: Part) -> None:
        part.shelf = self
        self.voiding += part.voiding
        self.changed(part)

    def take_out(self, part: Part) -> None:
        """Strike a part out; its place is used again."""
        self.parts[part.place] = None
        self.voiding -= part.voiding
        heapq.heappush(self._vacant, part.place)
        self._set(part.place, (0, 0, 0))

    def changed(self, part: Part) -> None:
        """Take note of what is free of a part now."""
        self._set(part.place, part.free.amounts() if part.open else (0, 0, 0))

    def best(
        self, bundle: Resources, allowed: Callable[[Part], bool] | None = None
    ) -> tuple[int, Part] | None:
        """Return the part with the most room for `bundle`, and how often it fits there.

        Of equal ones the one that has been here longest, roughly: by place.
        """
        wanted = [(r, amount) for r, amount in enumerate(bundle.amounts()) if amount]
        frontier: list[tuple[int, int, int]] = []
        self._look(frontier, wanted, len(self._levels) - 1, 0, 1)
        while frontier:
            bound, first, height = heapq.heappop(frontier)
            if height:
                entry = first // FAN**height * FAN
                self._look(frontier, wanted, height - 1, entry, entry + FAN)
                continue
            part = self.parts[first]
            assert part is not None, "a vacant place has no room"
            if allowed is None or allowed(part):
                return -bound, part
        return None

    def fits_at_most(self, bundle: Resources) -> int:
        """Return how often `bundle` may fit on one part: never less than it does."""
        top = self._levels[-1]
        return min([top[r][0] // amount for r, amount in enumerate(bundle.amounts()) if amount])

    def _look(
        self,
        frontier: list[tuple[int, int, int]],
        wanted: list[tuple[int, int]],
        height: int,
        entry: int,
        end: int,
    ) -> None:
        """Add to the frontier which of the entries have room, by how often the bundle fits."""
        level, span = self._levels[height], FAN**height
        columns = [(level[r][entry:end], amount) for r, amount in wanted]
        fitting = [[free // amount for free in column] for column, amount in columns]
        for fits in map(min, *fitting) if len(fitting) > 1 else fitting[0]:
            if fits:
                heapq.heappush(frontier, (-fits, entry * span, height))
            entry += 1

    def _grow(self) -> None:
        """Make room in the tree for one more part."""
        count, height = len(self.parts), 0
        while True:
            for amounts in self._levels[height]:
                amounts.extend([0] * (count - len(amounts)))
            if count == 1:
                return
            count, height = -(-count // FAN), height + 1
            if height == len(self._levels):
                below = self._levels[height - 1]
                blocks = range(0, len(below[0]), FAN)
                self._levels.append(
                    [[max(amounts[first : first + FAN]) for first in blocks] for amounts in below]
                )

    def _set(self, place: int, free: tuple[int, int, int]) -> None:
        for r, amount in enumerate(free):
            self._set_one(r, place, amount)

    def _set_one(self, r: int, place: int, amount: int) -> None:
        """Enter a part's amount of one resource, and what is largest above, as far as it changes.

        What neither was the largest nor is it now changes nothing above.
        """
        below = self._levels[0][r]
        before, below[place] = below[place], amount
        for level in self._levels[1:]:
            entry = place // FAN
            largest = level[r][entry]
            if amount <= largest:
                if before < largest:
                    return
                amount = max(below[entry * FAN : (entry + 1) * FAN])
            if amount == largest:
                return
            place, before, below = entry, largest, level[r]
            below[entry] = amount


@dataclass(slots=True)
class Rooms:
    """All nodes on their shelves."""

    version: int = 0
    """Rises when there is a shelf more, or less."""
    asked_for: set[str] = field(default_factory=set)
    """Attributes that some filter asks for; nodes that differ in others only are alike."""
    parts: dict[NodeId, dict[RoleId | None, Part]] = field(default_factory=dict)
    shelves: dict[Signature, Shelf] = field(default_factory=dict)

    def add(
        self,
        node: NodeId,
        capacity: Resources,
        attributes: Mapping[str, str],
        reserved: Mapping[RoleId, Resources],
    ) -> list[Part]:
        """Enter a node in its parts: what is reserved for each role, and the rest."""
        assert node not in self.parts, "a node joins once"
        rest = capacity
        parts: dict[RoleId | None, Part] = {}
        for role, amount in sorted(reserved.items()):
            rest -= amount
            parts[role] = self._shelve(node, role, amount, attributes)
        parts[None] = self._shelve(node, None, rest, attributes)
        self.parts[node] = parts
        return list(parts.values())

    def remove(self, node: NodeId) -> None:
        """Strike a node out."""
        for part in self.parts.pop(node).values():
            self._unshelve(part)

    def ask_for(self, names: frozenset[str]) -> bool:
        """Tell nodes apart by these attributes, too; return whether they were not before."""
        if names <= self.asked_for:
            return False
        self.asked_for |= names
        moved = [part for parts in self.parts.values() for part in parts.values()]
        self.shelves.clear()
        self.version += 1
        for part in moved:
            shelf = self.shelf(part.reserved_for, part.capacity, part.attributes)
            shelf.put(part)
        return True

    def alike(
        self, names: frozenset[str]
    ) -> Iterator[tuple[int, Mapping[str, str], Resources, RoleId | None]]:
        """Yield parts that these attributes do not tell apart, and how many; all of them."""
        if names <= self.asked_for:
            for shelf in self.shelves.values():
                yield len(shelf), shelf.attributes, shelf.capacity, shelf.reserved_for
            return
        for parts in self.parts.values():
            for part in parts.values():
                yield 1, part.attributes, part.capacity, part.reserved_for

    def of(self, node: NodeId) -> Iterator[Part]:
        """Yield a node's parts; none when it is not here."""
        yield from self.parts.get(node, {}).values()

    def _shelve(
        self, node: NodeId, role: RoleId | None, amount: Resources, attributes: Mapping[str, str]
    ) -> Part:
        shelf = self.shelf(role, amount, attributes)
        part = Part(node, role, amount, amount, attributes, shelf)
        shelf.put(part)
        return part

    def _unshelve(self, part: Part) -> None:
        part.shelf.take_out(part)
        if not len(part.shelf):
            del self.shelves[part.shelf.signature]
            self.version += 1

    def shelf(
        self, role: RoleId | None, capacity: Resources, attributes: Mapping[str, str]
    ) -> Shelf:
        """Return the shelf for such parts, made if there is none."""
        known = {name: attributes[name] for name in sorted(self.asked_for & attributes.keys())}
        signature: Signature = (tuple(known.items()), capacity.amounts(), role)
        if (shelf := self.shelves.get(signature)) is None:
            shelf = self.shelves[signature] = Shelf(signature, known)
            self.version += 1
        return shelf


def most_room(
    shelves: Iterable[Shelf], bundle: Resources, allowed: Callable[[Part], bool] | None = None
) -> Part | None:
    """Return the part with the most room for `bundle`; one that is reserved before all others.

    Reserved shelves come first. Of equal parts the one on the earlier shelf is returned.
    """
    bounds: list[tuple[int, int, Shelf]] = []
    for place, shelf in enumerate(shelves):
        if (fits := shelf.fits_at_most(bundle)) == 0:
            continue
        if shelf.reserved_for is None:
            bounds.append((-fits, place, shelf))
        elif found := shelf.best(bundle, allowed):
            return found[1]
    best: tuple[int, int, Part] | None = None
    for bound, place, shelf in sorted(bounds):
        if best is not None and (bound, place) > best[:2]:
            break
        if (found := shelf.best(bundle, allowed)) is not None:
            here = (-found[0], place, found[1])
            if best is None or here[:2] < best[:2]:
                best = here
    return best[2] if best else None
