"""What an agent answers to an offer, by its backlog, its phases' demand and the node's attributes.

An agent accepts per phase: it takes an offer in hand only if it will use it, and says how much of
the bundle. The filter that goes with a decline says how long the same node need not be offered.
"""

from dataclasses import dataclass

from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.offers import Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, Micros

REFUSE_UNFIT_US = Micros(60 * SECOND)
"""A node's attributes do not change while it lives; ask again only to forget the filter."""
REFUSE_SMALL_US = Micros(5 * SECOND)
"""A bundle too small now may be larger later; Mesos's default filter."""
REFUSE_SATED_US = Micros(0)
"""Nothing is wrong with the node; the desk says itself when it wants offers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one desk could use an offer for."""

    demand: Resources
    """Of the phase that would run under it."""
    backlog: int
    """Phases that wait for an offer."""
    ahead: int
    """Offers that the desk wants to hold beyond its backlog."""
    held: int
    """Offers that it holds already."""
    where: NodeFilter = ANY_NODE
    """Which nodes can be used; the allocator offers no others, if it knows."""


@dataclass(frozen=True, slots=True)
class Take:
    """Keep the offer; the phase will use this much of it."""

    used: Resources


@dataclass(frozen=True, slots=True)
class Decline:
    """Give the offer back, and refuse its node for a while."""

    refuse_for: Micros
    why: str


def answer(ticket: Ticket, need: Need) -> Take | Decline:
    """Return what the agent says to the offer."""
    for condition in need.where.failing(ticket.attributes):
        found = ticket.attributes.get(condition.name, "nothing")
        return Decline(REFUSE_UNFIT_US, f"{condition.name} is {found}; needed: {condition}")
    if not ticket.bundle.covers(need.demand):
        return Decline(REFUSE_SMALL_US, f"{ticket.bundle} does not cover {need.demand}")
    if need.held >= need.backlog + need.ahead:
        return Decline(REFUSE_SATED_US, "nothing to use it for")
    return Take(need.demand)
