"""The fleet's account of a living pool: looks at the allocator's books, joined with engines' words.

What is held, free and waited for is the allocator's to know; what computes is the engines'. So each
look is kept until every engine has told what computed at that instant, and is counted then. A
second book is kept from the engines' own sums alone; what the two differ by is the remainder.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.ledger import Ledger, is_below
from coordsvc.core.allocation.rooms import Shelf
from coordsvc.core.computed import Computed
from coordsvc.core.filters import NodeFilter
from coordsvc.core.fleet import States, accelerators, share
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, Instant, Micros, NodeId, since

LOOK_LASTS_US = Micros(SECOND)
"""A look speaks for the time since the last one, and for no longer: what was between is unknown."""
WORD_LATE_US = Micros(3 * SECOND)
"""Engines tell every second. One that has not told by then computed nothing that anybody knows."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """One node at one instant, in shares."""

    capacity: int
    committed: int
    """Offered or granted."""
    wanted: int | None
    """The least that a waiting phase which can use the node would take of it; None: nobody waits
    for it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The pool at one instant, in shares; the three states of what nobody holds are known."""

    nodes: Mapping[NodeId, NodeSeen]
    free: States


@dataclass(frozen=True, slots=True)
class _Kind:
    """Phases that ask for the same."""

    agent: AgentId
    least: Resources
    where: NodeFilter

    def can_use(self, shelf: Shelf) -> bool:
        """Tell whether the allocator would offer something there to it, had it the room."""
        role = shelf.reserved_for
        mine = role is None or is_below(self.agent, role)
        return mine and self.where.suits(shelf.attributes)


def look(ledger: Ledger, desks: Iterable[DeskState]) -> Seen:
    """Return the pool as the allocator's books have it.

    A free share is blocked where it is matched to a phase that waits in vain. The choosiest kinds
    of phases are matched first: a maximum matching where what kinds can use is nested, and bundles
    are of one size.
    """
    waiting: Counter[_Kind] = Counter()
    unmet: Counter[_Kind] = Counter()
    for desk in desks:
        if desk.waiting:
            kind = _Kind(desk.agent, desk.least, desk.where)
            waiting[kind] += desk.waiting
            unmet[kind] += desk.unmet
    # a shelf tells apart what some desk's filter asks for, and so all that matters here
    usable = {
        kind: [shelf for shelf in ledger.rooms.shelves.values() if kind.can_use(shelf)]
        for kind in waiting
    }
    smallest = _smallest(usable)
    nodes: dict[NodeId, NodeSeen] = {}
    free = 0
    for node, capacity in ledger.capacity.items():
        parts = ledger.rooms.parts[node].values()
        unheld = sum(share(part.free, capacity) for part in parts)
        wanted = [
            share(least, capacity)
            for part in parts
            if part.open
            for least in smallest.get(id(part.shelf), ())
        ]
        whole = accelerators(capacity)
        nodes[node] = NodeSeen(whole, whole - unheld, min(wanted, default=None))
        free += unheld
    return Seen(nodes, _free_states(ledger, usable, +unmet, free))


def _smallest(usable: Mapping[_Kind, list[Shelf]]) -> dict[int, list[Resources]]:
    """Return, by shelf, the bundles that phases wait for there."""
    smallest: dict[int, list[Resources]] = {}
    for kind, shelves in usable.items():
        for shelf in shelves:
            bundles = smallest.setdefault(id(shelf), [])
            if kind.least not in bundles:
                bundles.append(kind.least)
    return smallest


def _free_states(
    ledger: Ledger, usable: Mapping[_Kind, list[Shelf]], unmet: Counter[_Kind], free: int
) -> States:
    left: dict[int, Resources] = {}
    blocked = 0
    for kind in sorted(unmet, key=lambda k: (len(usable[k]), k.agent, k.least.amounts())):
        for part in (part for shelf in usable[kind] for part in shelf.parts):
            if not unmet[kind]:
                break
            if part is None or not part.open:
                continue
            here = left.get(id(part), part.free)
            if here.covers(kind.least):
                fits = min(unmet[kind], here.times_held(kind.least))
                left[id(part)] = here - kind.least.times(fits)
                blocked += share(kind.least.times(fits), ledger.capacity[part.node])
                unmet[kind] -= fits
    if unmet.total():
        return States(blocked=blocked, stranded=free - blocked)
    return States(blocked=blocked, idle=free - blocked)


@dataclass(slots=True)
class _Look:
    at: Instant
    lasts: int
    seen: Seen
    before: Mapping[NodeId, NodeSeen]
    """The nodes as the last look had them: what computed since may have ended since."""
    computing: dict[NodeId, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Twin:
    """One engine in both books, since its first word: what the two differ by."""

    first: Computed
    counted: int = 0
    """Computing, by the looks."""
    was_there: int = 0
    """Capacity, by the looks."""
    ungranted: int = 0
    """Computing that no look knew an offer or grant for."""
    differs: int = 0

    def compare(self, word: Computed) -> None:
        """Take note of the difference as of the engine's word."""
        computed = word.total - self.first.total
        there = (word.alive_us - self.first.alive_us) * word.capacity
        apart = max(abs(computed - self.counted), abs(there - self.was_there))
        self.differs = apart + self.ungranted


class FleetBook:
    """Adds up the five states of all shares."""

    def __init__(self) -> None:
        self.states = States()
        """Until now, but for the last second or two."""
        self.remainder = 0
        """The most that the two books ever differed by, in shares times microseconds.

        Looks do not begin where words do, so some hundredths of a second for each accelerator are
        no fault; a fault makes it grow.
        """
        self._looks: deque[_Look] = deque()
        self._twins: dict[NodeId, _Twin] = {}
        self._gone = 0
        """What the books differed by on engines that are no more."""
        self._last: tuple[Instant, Seen] | None = None

    def looked(self, now: Instant, seen: Seen) -> None:
        """Take a look that speaks for the time since the last one."""
        last, self._last = self._last, (now, seen)
        if last is not None and now > last[0]:
            lasts = min(since(last[0], now), LOOK_LASTS_US)
            self._looks.append(_Look(now, lasts, seen, last[1].nodes))
            self._count(now)

    def told(self, now: Instant, node: NodeId, word: Computed) -> None:
        """Take an engine's word, which has just come."""
        twin = self._twins.get(node)
        for one in self._looks:
            if node in one.seen.nodes and node not in one.computing:
                share_then = word.share_at(now - one.at)
                if share_then is None:
                    continue  # from before the engine's time, or too long ago
                one.computing[node] = share_then
                if twin is not None:
                    _count_twin(twin, one, node, share_then)
        if twin is None:
            self._twins[node] = _Twin(word)
        else:
            twin.compare(word)
            differ = self._gone + sum(one.differs for one in self._twins.values())
            self.remainder = max(self.remainder, differ)
        self._count(now)

    def lost(self, node: NodeId) -> None:
        """Take note that an engine will tell no more: it computed nothing since it last told."""
        if (twin := self._twins.pop(node, None)) is not None:
            self._gone += twin.differs
        for one in self._looks:
            if node in one.seen.nodes:
                one.computing.setdefault(node, 0)

    def _count(self, now: Instant) -> None:
        """Count the looks of which all is known, or will not be."""
        while self._looks:
            one = self._looks[0]
            if len(one.computing) < len(one.seen.nodes) and now - one.at < WORD_LATE_US:
                return
            self._looks.popleft()
            self.states.add(_states(one), one.lasts)


def _count_twin(twin: _Twin, one: _Look, node: NodeId, computing: int) -> None:
    there = one.seen.nodes[node]
    before = one.before.get(node, there)
    twin.counted += computing * one.lasts
    twin.was_there += there.capacity * one.lasts
    granted = max(there.committed, before.committed)
    twin.ungranted += max(0, computing - granted) * one.lasts


def _states(one: _Look) -> States:
    """Return the states of all shares: of what is held, and of the free ones as they were seen.

    What computed a moment ago may be free by now; it is taken from the free shares.
    """
    free = one.seen.free
    states = States(blocked=free.blocked, stranded=free.stranded, idle=free.idle)
    gone = 0
    for node, seen in one.seen.nodes.items():
        computing = min(one.computing.get(node, 0), seen.capacity)
        rest = max(0, seen.committed - computing)
        gone += max(0, computing - seen.committed)
        states.computing += computing
        if seen.wanted is not None and seen.wanted <= seen.capacity - computing:
            states.held += rest
        else:
            states.idle += rest
    for name in ("idle", "stranded", "blocked", "held"):
        taken = min(gone, getattr(states, name))
        setattr(states, name, getattr(states, name) - taken)
        gone -= taken
    assert states.total == sum(seen.capacity for seen in one.seen.nodes.values()), "all is counted"
    return states
