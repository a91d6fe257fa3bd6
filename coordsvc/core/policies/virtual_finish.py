"""Turns in the order in which they would end if the pool were shared ideally: Justitia.

arXiv:2510.17015. A turn is given a tag once, when it arrives: the virtual time of then plus the
engine time that it is expected to take, divided by its weight. Who would end first under fair
sharing is served first, at full speed; so most turns end earlier than they would under sharing, and
none is delayed without bound by those that come after it.

Virtual time is the engine time that each active turn has had in the ideal system, by weight. It
advances at (phases that can run at once) / (weight of the active turns), as in weighted fair
queueing, but never faster than real time: a turn is a chain, and has one phase at a time. A turn is
*active* from its arrival until virtual time reaches its tag. That is the end of its work in the
ideal system; when it really ends does not matter, and nobody need tell.

Justitia counts cost as memory times time. Here it is engine time: what a phase holds of an engine
is its bundle, and memory is no part of a bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from coordsvc.core.policies import Ended, Key, Ordering
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, Instant, Micros, TurnId, since
from coordsvc.core.waits import Wait

FINE_BITS = 20
"""Virtual time is in units of 2**-20 microseconds: many short steps add up to one long one."""


@dataclass(kw_only=True)
class VirtualFinish(Ordering):
    """Serves the turn that would end first under ideal sharing."""

    weights: Mapping[AgentId, int] = field(default_factory=dict)
    """Of turns, by the agent of their first phase; 1 where nothing is said."""
    unknown_us: Micros = Micros(5 * SECOND)
    """What a turn is taken to need where nobody knows; if so for all, the order is first come."""
    turns_max: int = 65_536
    """Turns remembered. One that is forgotten is older than all others, and goes first."""
    tags: dict[TurnId, int] = field(default_factory=dict)
    active: list[tuple[int, int]] = field(default_factory=list)
    """Tag and weight of turns in the ideal system, as a heap."""
    active_weight: int = 0
    virtual: int = 0
    as_of: Instant = Instant(0)
    """Up to when virtual time has advanced."""
    slots: int = 1
    """How many phases can run at once; 1 until a first grant has ended."""
    bundle: tuple[int, int, int] = (0, 0, 0)
    """What the last grant that ended had held: gpu and cpu in thousandths, bandwidth in Mb/s."""

    def __post_init__(self) -> None:
        assert all(weight > 0 for weight in self.weights.values()), "weights are above 0"

    def urgency(self, wait: Wait) -> Key:
        """Return the turn's tag, when it arrived, and its name where equal."""
        return (self.tags.get(wait.turn, 0), wait.arrived, wait.turn)

    def arrived(self, now: Instant, agent: AgentId, wait: Wait, capacity: Resources) -> None:
        """Give a new turn its tag; later phases keep it."""
        if wait.turn in self.tags:
            return
        self._advance(now)
        if any(self.bundle):
            self.slots = max(1, capacity.times_held(Resources(*self.bundle)))
        weight = self.weights.get(agent, 1)
        tag = self.virtual + ((wait.rest_us or self.unknown_us) << FINE_BITS) // weight
        self.tags[wait.turn] = tag
        heappush(self.active, (tag, weight))
        self.active_weight += weight
        if len(self.active) > self.turns_max:
            self._leave()
        if len(self.tags) > self.turns_max:
            del self.tags[next(iter(self.tags))]

    def ended(self, now: Instant, end: Ended) -> None:
        """Take note of how much a phase holds, which says how many run at once."""
        del now
        self.bundle = end.bundle.amounts()

    def _advance(self, now: Instant) -> None:
        """Move virtual time on to `now`, past the tags of turns that end meanwhile."""
        left = since(self.as_of, now) << FINE_BITS
        self.as_of = max(self.as_of, now)
        while self.active and left > 0:
            slots = min(self.slots, self.active_weight)
            to_go = self.active[0][0] - self.virtual
            lasts = -(-to_go * self.active_weight // slots)
            if lasts > left:
                self.virtual += left * slots // self.active_weight
                return
            left -= lasts
            self.virtual = self._leave()

    def _leave(self) -> int:
        """Take the turn that ends first out of the ideal system; return its tag."""
        tag, weight = heappop(self.active)
        self.active_weight -= weight
        return tag
