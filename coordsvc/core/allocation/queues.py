"""Who is next: desks under their roles, each level a heap, so that a change costs a logarithm.

Desks that ask for the same (bundle, nodes that they can use) are of one *kind*. What one of a kind
finds no room for, none does; so each kind has a queue of its own, and one without room is passed
over as a whole.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from coordsvc.core.allocation.rooms import Shelf
from coordsvc.core.filters import NodeFilter
from coordsvc.core.policies import Key, Policy
from coordsvc.core.resources import Resources
from coordsvc.core.roles import ROOT, Role, Roles
from coordsvc.core.units import DeskId, RoleId

Place = tuple[bool, bool, Key, str]
"""Nobody waits, above its guarantee, the policy's key, name: smaller is served first."""
STALE_PER_LIVE = 4
DESK = "@"
"""Begins a desk's name in a level, for a role may have the same one."""


@dataclass(slots=True)
class Ranking:
    """Names in the order of their places; a place may be changed, and a name struck out."""

    places: dict[str, Place] = field(default_factory=dict)
    _heap: list[tuple[Place, str]] = field(default_factory=list)

    def put(self, name: str, place: Place) -> None:
        """Enter a name, or give it another place."""
        if self.places.get(name) == place:
            return
        self.places[name] = place
        heapq.heappush(self._heap, (place, name))
        if len(self._heap) > STALE_PER_LIVE * len(self.places) + STALE_PER_LIVE:
            self._heap = [(live, name) for name, live in self.places.items()]
            heapq.heapify(self._heap)

    def strike(self, name: str) -> None:
        """Strike a name out, if it is there."""
        self.places.pop(name, None)

    def first(self) -> tuple[Place, str] | None:
        """Return the smallest place and its name."""
        while self._heap:
            place, name = self._heap[0]
            if self.places.get(name) == place:
                return place, name
            heapq.heappop(self._heap)
        return None


@dataclass(frozen=True, slots=True)
class KindKey:
    """What desks of one kind have in common."""

    bundle: Resources
    least: Resources
    where: NodeFilter
    reservations: tuple[RoleId, ...]
    """The roles on the way up whose reservations they may use."""


@dataclass(slots=True, eq=False)
class Kind:
    """The desks of one kind that want something, by the policy's order."""

    key: KindKey
    search: Resources
    """What a node must have free: the least, and what the filter asks for."""
    shelves: list[Shelf] = field(default_factory=list)
    """Where they may be offered something, reserved ones first."""
    full: bool = False
    """No node has room for one of them."""
    full_ahead: bool = False
    """No node has room that may be held ahead of need."""
    keeps: bool = False
    """Phases wait in vain: nothing is held ahead on these shelves."""
    grown: int = 0
    """How often room was made for them."""
    gangs: int = 0
    """Members of gangs that are of this kind."""
    desks: dict[DeskId, None] = field(default_factory=dict)
    picky: dict[DeskId, None] = field(default_factory=dict)
    """Desks that refuse, for now, every node with room."""
    _levels: dict[RoleId, Ranking] = field(default_factory=dict)

    def put(self, desk: DeskId, place: Place, role: Role, policy: Policy, pool: Resources) -> None:
        """Enter a desk's claim, or move it."""
        self._level(role.role_id).put(DESK + desk, place)
        self.moved(role, policy, pool)

    def strike(self, desk: DeskId, role: Role, policy: Policy, pool: Resources) -> None:
        """Strike a desk's claim out, if there is one."""
        if (level := self._levels.get(role.role_id)) and DESK + desk in level.places:
            level.strike(DESK + desk)
            self.moved(role, policy, pool)

    def moved(self, role: Role, policy: Policy, pool: Resources) -> None:
        """Give the role, and those above it, the places that are due to them now."""
        if not self._levels:
            return
        one: Role = role
        while (above := one.parent) is not None:
            if below := self._levels.get(one.role_id):  # else it stands in no line
                best = below.first()
                place = self._place(one, best[0], policy, pool) if best else None
                if place is not None:
                    self._level(above.role_id).put(one.role_id, place)
                elif above.role_id in self._levels:
                    self._levels[above.role_id].strike(one.role_id)
                if best is None:
                    del self._levels[one.role_id]
            one = above
        if (top := self._levels.get(ROOT)) and not top.places:
            del self._levels[ROOT]

    def reordered(self, roles: Roles, policy: Policy, pool: Resources) -> None:
        """Give every role the place that is due to it now."""
        leaves = [role_id for role_id in self._levels if role_id != ROOT]
        for role_id in leaves:
            if role_id in self._levels:
                self.moved(roles.get(role_id), policy, pool)

    def first(self) -> tuple[tuple[Place, ...], DeskId] | None:
        """Return the place of the next desk at each level, and its name."""
        places: list[Place] = []
        level = self._levels.get(ROOT)
        while level is not None:
            found = level.first()
            if found is None:
                return None
            place, name = found
            places.append(place)
            if name.startswith(DESK):
                return tuple(places), DeskId(name.removeprefix(DESK))
            level = self._levels.get(RoleId(name))
        return None

    def someone_waits(self) -> bool:
        """Tell whether the next one is a phase that waits."""
        level = self._levels.get(ROOT)
        found = level.first() if level else None
        return found is not None and not found[0][0]

    def queued(self) -> Iterator[tuple[RoleId, Ranking]]:
        """Yield each level: a role, and what stands in line below it."""
        yield from self._levels.items()

    def _place(self, role: Role, best: Place, policy: Policy, pool: Resources) -> Place | None:
        bundle = self.key.bundle
        if role.terms.limit is not None and not role.terms.limit.covers(role.held + bundle):
            return None
        key = policy.role_key(role, best[2], bundle, pool)
        if key is None:
            return None
        guarantee = role.terms.guarantee
        beyond = not (guarantee and guarantee.covers(role.held + bundle))
        return (best[0], beyond, key, role.role_id)

    def _level(self, role_id: RoleId) -> Ranking:
        if (level := self._levels.get(role_id)) is None:
            level = self._levels[role_id] = Ranking()
        return level
