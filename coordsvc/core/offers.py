"""The life of one offer, and the grant it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from coordsvc.core.errors import IllegalTransition
from coordsvc.core.resources import Resources
from coordsvc.core.units import (
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
    TurnId,
)


class OfferState(Enum):
    """Where an offer stands. The first four hold resources; the others are ends."""

    GATHERED = auto()
    """Set aside for a gang that is not complete; nobody has been told."""
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


GATHERED, ISSUED, VOIDING, ACCEPTED, DECLINED, EXPIRED, RESCINDED, RELEASED = OfferState

TRANSITIONS: dict[OfferState, frozenset[OfferState]] = {
    GATHERED: frozenset({ISSUED, RESCINDED}),
    ISSUED: frozenset({ACCEPTED, DECLINED, VOIDING, RESCINDED}),
    VOIDING: frozenset({ACCEPTED, DECLINED, EXPIRED, RESCINDED}),
    ACCEPTED: frozenset({RELEASED, RESCINDED}),
    DECLINED: frozenset(),
    EXPIRED: frozenset(),
    RESCINDED: frozenset(),
    RELEASED: frozenset(),
}
"""Every legal move. The diagram in the docs is drawn from this table."""

FIRST = (GATHERED, ISSUED)
"""The states in which an offer is made."""

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
    since: Instant = Instant(0)
    """When it came to its present state, on the allocator's clock."""
    state: OfferState = ISSUED
    voided_as: OfferState | None = None
    """While VOIDING: the end that it comes to, if the engine never started it."""
    reserved_for: RoleId | None = None
    """The role whose reservation on the node it is taken from."""
    revocable: bool = False
    """Lent out of another role's guarantee: it may be asked back, and then preempted."""
    gang: GangId | None = None
    meant_for: TurnId | None = None
    """The waiting turn that it was made for."""

    def to(self, state: OfferState, now: Instant, voided_as: OfferState | None = None) -> "Offer":
        """Return this offer moved to `state` at `now`, or refuse."""
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"offer {self.offer_id}: {self.state.name} -> {state.name}")
        return self._copy(self.bundle, state, now, voided_as)

    def shrunk(self, used: Resources) -> "Offer":
        """Return this offer with `used` of its bundle."""
        return self._copy(used, self.state, self.since, self.voided_as)

    def _copy(
        self, bundle: Resources, state: OfferState, since: Instant, voided_as: OfferState | None
    ) -> "Offer":
        return Offer(  # `replace` takes three times as long, and every lease does this thrice
            offer_id=self.offer_id,
            agent=self.agent,
            desk=self.desk,
            node=self.node,
            bundle=bundle,
            expires_at=self.expires_at,
            since=since,
            state=state,
            voided_as=voided_as,
            reserved_for=self.reserved_for,
            revocable=self.revocable,
            gang=self.gang,
            meant_for=self.meant_for,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An offer as it travels to a desk. It lasts a duration, not until an instant of our clock."""

    epoch: Epoch
    offer_id: OfferId
    node: NodeId
    bundle: Resources
    lasts: Micros
    attributes: Mapping[str, str] = field(default_factory=dict)
    cached: frozenset[str] = frozenset()
    """Keys of the prefixes that its node had cached when it last told."""
    revocable: bool = False
    gang: GangId | None = None
    meant_for: TurnId | None = None
    agent: AgentId | None = None
    """Whose share it is taken from, in a gang; else the desk's own agent's."""


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

    def used(self, bundle: Resources) -> "Grant":
        """Return the grant of the next use, with as much of the bundle as that takes."""
        return Grant(  # `replace` takes three times as long, and every phase does this
            epoch=self.epoch,
            offer_id=self.offer_id,
            use=self.use + 1,
            node=self.node,
            agent=self.agent,
            desk=self.desk,
            bundle=bundle,
        )
