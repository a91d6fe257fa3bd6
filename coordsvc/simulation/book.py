"""The fleet's account: in which of five states each slot was, and for how long, in slots.

Computing is the engines' word. Committed is what the allocator believes to be held: told offers and
grants. What is committed and does not compute is held while a waiting phase could use it, and
idle while none could. What is free is blocked where it is matched to a waiting phase; of the
rest it is stranded while any phase waits unmatched, and idle while none does.

Nodes with the same attributes are one group, and so are agents with the same requirements. What
groups of agents can use must be nested (each pair: one within the other, or apart); then serving
the choosiest first is a maximum matching.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordsvc.core.filters import NodeFilter
from coordsvc.core.fleet import States
from coordsvc.core.units import AgentId, Instant, NodeId

Attributes = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Place:
    """One node, as the book sees it."""

    group: int
    slots: int
    computing: int = 0
    committed: int = 0


@dataclass(slots=True)
class Group:
    """Nodes that are alike."""

    slots: int = 0
    computing: int = 0
    held: int = 0


class Book:
    """Is told of every change, and adds up what was between two of them."""

    def __init__(
        self,
        node_kinds: Iterable[Mapping[str, str]],
        requires: Mapping[AgentId, NodeFilter],
    ) -> None:
        """Begin with no nodes; `requires` names every agent."""
        kinds = dict.fromkeys(_key(kind) for kind in node_kinds)
        self._group_of = {kind: n for n, kind in enumerate(kinds)}
        self._groups = [Group() for _ in kinds]
        reach = {
            agent: tuple(n for n, kind in enumerate(kinds) if where.suits(dict(kind)))
            for agent, where in requires.items()
        }
        self._reaches = sorted(dict.fromkeys(reach.values()), key=lambda r: (len(r), r))
        _check_nested(self._reaches)
        self._waiter_of = {agent: self._reaches.index(r) for agent, r in reach.items()}
        self._waiting = [0] * len(self._reaches)
        self._places: dict[NodeId, Place] = {}
        self._as_of = Instant(0)
        self._rates: tuple[int, int, int, int, int] | None = None
        self.states = States()
        self.held_by: dict[AgentId, int] = dict.fromkeys(requires, 0)
        """Bundles that agents hold now, offers included."""
        self.shares: dict[AgentId, int] = dict.fromkeys(requires, 0)
        """The same times microseconds."""
        self._share_as_of: dict[AgentId, Instant] = dict.fromkeys(requires, Instant(0))

    def node_up(self, now: Instant, node: NodeId, slots: int, kind: Mapping[str, str]) -> None:
        """Count a node's slots from now on."""
        self.close(now)
        place = self._places[node] = Place(self._group_of[_key(kind)], slots)
        self._groups[place.group].slots += slots

    def node_down(self, now: Instant, node: NodeId) -> None:
        """Count a node's slots no longer."""
        self.close(now)
        place = self._places.pop(node)
        group = self._groups[place.group]
        group.slots -= place.slots
        group.computing -= place.computing
        group.held -= _held(place)

    def computing(self, now: Instant, node: NodeId, change: int) -> None:
        """Count phases that an engine has begun, or ended, to compute."""
        self.close(now)
        place = self._places[node]
        group = self._groups[place.group]
        group.held -= _held(place)
        place.computing += change
        group.computing += change
        group.held += _held(place)

    def committed(self, now: Instant, node: NodeId, change: int) -> None:
        """Count bundles that the allocator has offered, or has back."""
        if (place := self._places.get(node)) is None:
            return
        self.close(now)
        group = self._groups[place.group]
        group.held -= _held(place)
        place.committed += change
        group.held += _held(place)

    def committed_anew(self, now: Instant, node: NodeId, bundles: int) -> None:
        """Take what a new allocator has heard to be held on a node."""
        if (place := self._places.get(node)) is not None:
            self.committed(now, node, bundles - place.committed)

    def waits(self, now: Instant, agent: AgentId, change: int) -> None:
        """Count phases that have begun, or ended, to wait."""
        self.close(now)
        self._waiting[self._waiter_of[agent]] += change

    def holds(self, now: Instant, agent: AgentId, change: int) -> None:
        """Count bundles that an agent has come to hold, or has given back."""
        held = self.held_by[agent]
        self.shares[agent] += held * (now - self._share_as_of[agent])
        self._share_as_of[agent] = now
        self.held_by[agent] = held + change

    def nobody_holds(self, now: Instant) -> None:
        """Begin to count anew what agents hold: the allocator that knew is no more."""
        for agent, held in self.held_by.items():
            self.holds(now, agent, -held)

    def close(self, now: Instant) -> None:
        """Add up all that was before `now`; whatever is told next changes the rates."""
        if now != self._as_of:
            rates = self._rates or self._rates_now()
            states, passed = self.states, now - self._as_of
            states.computing += rates[0] * passed
            states.held += rates[1] * passed
            states.blocked += rates[2] * passed
            states.stranded += rates[3] * passed
            states.idle += rates[4] * passed
            self._as_of = now
        self._rates = None

    def snapshot(self, now: Instant) -> tuple[States, dict[AgentId, int]]:
        """Return what there was until now, of states and of agents' shares."""
        self.close(now)
        for agent in self.held_by:
            self.holds(now, agent, 0)
        return self.states.minus(States()), dict(self.shares)

    def _rates_now(self) -> tuple[int, int, int, int, int]:
        groups = self._groups
        computing = sum(group.computing for group in groups)
        wanted: set[int] = set()
        free = [group.slots - group.computing - group.held for group in groups]
        unmatched = 0
        blocked = 0
        for reach, waiting in zip(self._reaches, self._waiting, strict=True):
            if not waiting:
                continue
            wanted.update(reach)
            left = waiting
            for group in reach:
                taken = min(left, free[group])
                free[group] -= taken
                blocked += taken
                left -= taken
            unmatched += left
        held = sum(groups[n].held for n in sorted(wanted))
        spare = sum(group.held for group in groups) - held
        stranded = sum(free) if unmatched else 0
        return computing, held, blocked, stranded, spare + sum(free) - stranded


def _held(place: Place) -> int:
    """Return how many slots are committed and do not compute; no more than there are."""
    return max(0, min(place.committed, place.slots) - place.computing)


def _key(attributes: Mapping[str, str]) -> Attributes:
    return tuple(sorted(attributes.items()))


def _check_nested(reaches: list[tuple[int, ...]]) -> None:
    for n, small in enumerate(reaches):
        for large in reaches[n + 1 :]:
            both = set(small) & set(large)
            if both and both != set(small):
                raise ValueError("what agents can use is neither nested nor apart")
