"""Least attained service first: Autellix's PLAS (arXiv:2502.13965), with a turn as the program.

A phase is placed by the engine time that earlier phases of its turn have had. Nothing about the
future need be known: where lengths are heavy-tailed, who has had little will likely need little.
Attained service falls into a few queues whose ends grow exponentially; in a queue, first come is
first served, so that equals do not overtake each other all the time.

A turn that has had much is not starved by ever new ones: once it has waited `beta` times as long
as it was served, its phase goes to the first queue, where those that come later stand behind it.
All of a turn's time that is not service counts as waiting. Nobody need remember who was promoted:
it follows from the wait and from `as_of`. A later phase of the same turn is judged anew.

Autellix's second order, ATLAS, is for programs that branch: it takes the largest sum over a
phase's parents, the critical path. Our turns are chains, and of a chain both are the same sum.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

from coordsvc.core.policies import Key
from coordsvc.core.policies.foreseen import Foreseen
from coordsvc.core.resources import Resources
from coordsvc.core.units import MILLISECOND, AgentId, Instant, Micros
from coordsvc.core.waits import Wait


@dataclass(kw_only=True)
class AttainedService(Foreseen):
    """Serves the turn that has had the least engine time."""

    queues: int = 8
    first_us: Micros = Micros(250 * MILLISECOND)
    """Up to this much engine time a turn is in the first queue."""
    growth: int = 2
    """How many times further each queue reaches than the one before; the last has no end."""
    beta: int = 10
    """Waited so many times as long as served, a turn goes to the first queue."""
    ends: tuple[int, ...] = field(init=False)
    """At how much engine time a turn leaves each queue but the last."""

    def __post_init__(self) -> None:
        assert self.queues > 0, "there is at least one queue"
        assert self.first_us > 0, "the first queue has room"
        assert self.growth > 1, "queues grow"
        assert self.beta > 0, "who has not waited is not starved"
        self.ends = tuple(self.first_us * self.growth**n for n in range(self.queues - 1))

    def urgency(self, wait: Wait) -> Key:
        """Return the queue, when the phase asked, and its turn's name where equal."""
        starved = self._starves(wait) <= self.as_of
        queue = 0 if starved else bisect_right(self.ends, wait.attained_us)
        return (queue, wait.asked, wait.turn)

    def arrived(self, now: Instant, agent: AgentId, wait: Wait, capacity: Resources) -> None:
        """Foresee when the phase starves; in the first queue it cannot."""
        del now, agent, capacity
        if bisect_right(self.ends, wait.attained_us) > 0:
            self.foresee(self._starves(wait))

    def _starves(self, wait: Wait) -> Instant:
        """Return when waiting will be `beta` times the service."""
        return Instant(wait.arrived + wait.attained_us * (1 + self.beta))
