"""The life of one offer, and the grant it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from coordsvc.core.errors import IllegalTransition
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, Micros, NodeId, OfferId


class OfferState(Enum):
    """Where an offer stands. ISSUED, VOIDING and ACCEPTED hold resources; the others are ends."""

    ISSUED = auto()
    """Held for one desk until it expires: a reservation."""
    VOIDING = auto()
    """Run out or taken back; the engine is being asked whether it was started."""
    ACCEPTED = auto()
    """Work runs under it, or is on its way to the engine."""
    DECLINED = auto()
    """Given back by the desk, never started."""
    EXPIRED = auto()
    """Run out, and the engine's word that it was never started."""
    RESCINDED = auto()
    """Taken back, and the engine's word that it was never started; or the engine is dead."""
    RELEASED = auto()
    """Finished, on the engine's word."""


ISSUED, VOIDING, ACCEPTED, DECLINED, EXPIRED, RESCINDED, RELEASED = OfferState

TRANSITIONS: dict[OfferState, frozenset[OfferState]] = {
    ISSUED: frozenset({ACCEPTED, DECLINED, VOIDING, RESCINDED}),
    VOIDING: frozenset({ACCEPTED, DECLINED, EXPIRED, RESCINDED}),
    ACCEPTED: frozenset({RELEASED, RESCINDED}),
    DECLINED: frozenset(),
    EXPIRED: frozenset(),
    RESCINDED: frozenset(),
    RELEASED: frozenset(),
}
"""Every legal move. The diagram in the docs is drawn from this table."""

HOLDING = frozenset(state for state, onward in TRANSITIONS.items() if onward)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A bundle on one node, promised to one desk until `expires_at` on the allocator's clock."""

    offer_id: OfferId
    agent: AgentId
    desk: DeskId
    node: NodeId
    bundle: Resources
    expires_at: Instant
    state: OfferState = ISSUED
    voided_as: OfferState | None = None
    """While VOIDING: the end that it comes to, if the engine never started it."""

    def to(self, state: OfferState, voided_as: OfferState | None = None) -> "Offer":
        """Return this offer moved to `state`, or refuse."""
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"offer {self.offer_id}: {self.state.name} -> {state.name}")
        return replace(self, state=state, voided_as=voided_as)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An offer as it travels to a desk. It lasts a duration, not until an instant of our clock."""

    epoch: Epoch
    offer_id: OfferId
    node: NodeId
    bundle: Resources
    lasts: Micros
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An accepted offer: what an engine runs work under.

    `use` rises by one with each successive phase that a desk runs under the same grant, which it
    may only while the allocator is silent; the engine refuses a use that it has seen.
    """

    epoch: Epoch
    offer_id: OfferId
    use: int
    node: NodeId
    agent: AgentId
    desk: DeskId
    bundle: Resources
