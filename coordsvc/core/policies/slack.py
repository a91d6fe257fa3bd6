"""Least slack first: who has the least time to spare before the deadline.

Slack is what is left until the deadline less the engine time that the turn is still expected to
take. The time runs alike for all who wait, so it is enough to compare `deadline - rest_us`: the
latest instant at which the rest can begin. HexAGenT (arXiv:2605.16637) orders the ready calls of
workflows in this manner, by the projected risk of missing the time that the workflow would take
standing alone; here the turn's deadline is in that place.

By itself such an order fails when there is too much to do: the turn that is too late already looks
the most urgent, and makes the next one late. So who can no longer make it comes after all who can.
The expected rest is a mean, and so a narrow miss may yet be none: of those, the narrowest first.
Where nobody knows the rests, it is the earliest deadline first.
"""

from dataclasses import dataclass

from coordsvc.core.policies import Key
from coordsvc.core.policies.foreseen import Foreseen
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, Instant
from coordsvc.core.waits import Wait


@dataclass(kw_only=True)
class Slack(Foreseen):
    """Serves the turn that would be late soonest, unless it is late anyway."""

    def urgency(self, wait: Wait) -> Key:
        """Return whether it is too late, the latest start, when it asked, and its turn's name."""
        latest = _latest_start(wait)
        if latest < self.as_of:
            return (1, -latest, wait.asked, wait.turn)
        return (0, latest, wait.asked, wait.turn)

    def arrived(self, now: Instant, agent: AgentId, wait: Wait, capacity: Resources) -> None:
        """Foresee when it will be too late for the phase."""
        del now, agent, capacity
        self.foresee(Instant(_latest_start(wait) + 1))


def _latest_start(wait: Wait) -> Instant:
    return Instant(wait.deadline - wait.rest_us)
