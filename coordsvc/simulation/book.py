"""The fleet's account: in which of five states each slot was, and for how long, in slots.

Computing is the engines' word. Committed is what the allocator believes to be held: told offers and
grants. What is committed and does not compute is held while a waiting phase could use it, and
idle while none could. What is free is blocked where it is matched to a waiting phase; of the
rest it is stranded while any phase waits unmatched, and idle while none does.

Nodes of the same size with the same attributes are one group, and so are agents with the same
requirements and width. What groups of agents can use must be nested (each pair: one within the
other, or apart); then serving the choosiest first is a maximum matching. Of those that can use the
same, the widest is served first, as the others fit into what it leaves. Where phases take more than
one slot, what is free is looked at node by node: two halves on two nodes are no whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordsvc.core.filters import NodeFilter
from coordsvc.core.fleet import States
from coordsvc.core.units import AgentId, Instant, NodeId

Kind = tuple[tuple[tuple[str, str], ...], int]
"""Nodes that are alike: their attributes, and their slots."""
Want = tuple[tuple[int, ...], int]
"""What some agents need: the groups of nodes that will do, and slots on one node."""


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
        node_kinds: Iterable[tuple[Mapping[str, str], int]],
        requires: Mapping[AgentId, NodeFilter],
        widths: Mapping[AgentId, int] | None = None,
    ) -> None:
        """Begin with no nodes, of the kinds (attributes, slots); `requires` names every agent.

        `widths`: slots that a phase of an agent takes; 1 where nothing is said.
        """
        kinds = dict.fromkeys(_key(*kind) for kind in node_kinds)
        self._group_of = {kind: n for n, kind in enumerate(kinds)}
        self._groups = [Group() for _ in kinds]
        wide = dict(widths or {})
        self._unequal = any(width > 1 for width in wide.values())
        wants: dict[AgentId, Want] = {}
        for agent, where in requires.items():
            width = wide.get(agent, 1)
            fits = (slots >= width and where.suits(dict(told)) for told, slots in kinds)
            wants[agent] = (tuple(n for n, fit in enumerate(fits) if fit), width)
        self._wants = sorted(
            dict.fromkeys(wants.values()), key=lambda want: (len(want[0]), want[0], -want[1])
        )
        _check_nested([reach for reach, _ in self._wants])
        self._waiter_of = {agent: self._wants.index(want) for agent, want in wants.items()}
        self._waiting = [0] * len(self._wants)
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
        place = self._places[node] = Place(self._group_of[_key(kind, slots)], slots)
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
        wanted = {
            group
            for (reach, _), waiting in zip(self._wants, self._waiting, strict=True)
            if waiting
            for group in reach
        }
        free = sum(group.slots - group.computing - group.held for group in groups)
        blocked, unmatched = self._matched_by_node() if self._unequal else self._matched()
        held = sum(groups[n].held for n in sorted(wanted))
        spare = sum(group.held for group in groups) - held
        left = free - blocked
        stranded = left if unmatched else 0
        return computing, held, blocked, stranded, spare + left - stranded

    def _matched(self) -> tuple[int, int]:
        """Return the free slots that are matched to waiting phases, and the phases that are not."""
        free = [group.slots - group.computing - group.held for group in self._groups]
        blocked = unmatched = 0
        for (reach, _), waiting in zip(self._wants, self._waiting, strict=True):
            left = waiting
            for group in reach:
                taken = min(left, free[group])
                free[group] -= taken
                blocked += taken
                left -= taken
            unmatched += left
        return blocked, unmatched

    def _matched_by_node(self) -> tuple[int, int]:
        """Return the same where phases take more than one slot of a node."""
        free: list[list[int]] = [[] for _ in self._groups]
        for place in self._places.values():
            free[place.group].append(place.slots - place.computing - _held(place))
        blocked = unmatched = 0
        for (reach, width), waiting in zip(self._wants, self._waiting, strict=True):
            left = waiting
            for nodes in (free[group] for group in reach):
                for n, there in enumerate(nodes):
                    taken = min(left, there // width)
                    nodes[n] -= taken * width
                    blocked += taken * width
                    left -= taken
            unmatched += left
        return blocked, unmatched


def _held(place: Place) -> int:
    """Return how many slots are committed and do not compute; no more than there are."""
    return max(0, min(place.committed, place.slots) - place.computing)


def _key(attributes: Mapping[str, str], slots: int) -> Kind:
    return tuple(sorted(attributes.items())), slots


def _check_nested(reaches: list[tuple[int, ...]]) -> None:
    for n, small in enumerate(reaches):
        for large in reaches[n + 1 :]:
            both = set(small) & set(large)
            if both and both != set(small):
                raise ValueError("what agents can use is neither nested nor apart")
