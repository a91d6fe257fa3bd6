"""Who is offered the next free bundle. One small file a policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A desk that wants one more offer, as a policy sees it."""

    desk: DeskId
    agent: AgentId
    weight: int
    held: Resources
    """What the whole agent holds, offers included."""
    bundle: Resources
    """What the next offer would be."""
    issued: int
    """Offers that this desk holds and has not started."""
    waiting: int
    """Phases that wait at this desk beyond the offers it holds."""


class Policy(Protocol):
    """Chooses among claims. Pure: the same claims give the same answer."""

    def choose(self, claims: Sequence[Claim], capacity: Resources) -> Claim:
        """Return the claim to serve next; `claims` is not empty, `capacity` is the cluster's."""
        ...
