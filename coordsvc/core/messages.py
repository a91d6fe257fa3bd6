"""What the allocator is told (events) and what it wants done (effects)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.offers import Grant, Offer, OfferState, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    AgentId,
    DeskId,
    GangId,
    Micros,
    NodeId,
    OfferId,
    RoleId,
)
from coordsvc.core.waits import PhaseWait


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """An engine was fenced for this epoch: `running` is all that runs on it, of any epoch."""

    node: NodeId
    capacity: Resources
    attributes: Mapping[str, str] = field(default_factory=dict)
    running: tuple[Grant, ...] = ()
    reserved: Mapping[RoleId, Resources] = field(default_factory=dict)
    """What of the capacity only these roles may hold."""


@dataclass(frozen=True, slots=True)
class NodeLost:
    """An engine died or left: nothing runs there any more."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class NodeDraining:
    """A node is to be emptied, for scale-in or maintenance: nothing more is offered there.

    What runs there is asked back; with `preempt` it is ended after `within`.
    """

    node: NodeId
    within: Micros
    preempt: bool = False


@dataclass(frozen=True, slots=True)
class NodeReopened:
    """A draining node is not to be emptied after all."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Reconciled:
    """An engine's own word, told regularly: what runs, and what ended since it last told."""

    node: NodeId
    running: frozenset[OfferId]
    finished: tuple[OfferId, ...]
    cached: frozenset[str] | None = None
    """Keys of the prefixes cached there now; None when nothing changed."""


@dataclass(frozen=True, slots=True)
class Voided:
    """An engine's answer to `Void`: either it will never start the offer, or it has."""

    offer_id: OfferId
    was_started: bool


@dataclass(frozen=True, slots=True)
class DeskJoined:
    """An agent's replica asks for offers of one size, or of any between `least` and `bundle`."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    least: Resources | None = None
    where: NodeFilter = ANY_NODE


@dataclass(frozen=True, slots=True)
class DeskLost:
    """A replica died, left, or has been silent too long."""

    desk: DeskId


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many offers a desk wants to hold: for phases that wait now, and ahead of need.

    `waits` tells of the first of those that wait; it may tell of fewer than `waiting`.
    """

    desk: DeskId
    waiting: int
    ahead: int
    waits: tuple[PhaseWait, ...] = ()


@dataclass(frozen=True, slots=True)
class Suppressed:
    """The desk wants no offers, whatever it wanted, until it revives."""

    desk: DeskId


@dataclass(frozen=True, slots=True)
class Revived:
    """The desk wants offers again, and refuses no node any more."""

    desk: DeskId


@dataclass(frozen=True, slots=True)
class Held:
    """The offers that a desk holds, all of them: what it does not name has not reached it."""

    desk: DeskId
    offers: frozenset[OfferId]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A phase started under the offer, with `used` of its bundle.

    The rest is declined, and its node refused for a while, as in Mesos.
    """

    offer_id: OfferId
    used: Resources
    refuse_for: Micros = Micros(0)
    by: DeskId | None = None
    """Whose word it is: only that desk's that holds the offer counts; None is not asked."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The desk gives back an offer that it never started, and refuses its node for a while."""

    offer_id: OfferId
    refuse_for: Micros = Micros(0)
    by: DeskId | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The engine's word, relayed by the desk, that nothing runs under the grant any more."""

    offer_id: OfferId
    compute_us: Micros = Micros(0)
    """Engine time of the phase; 0 where nobody knows."""
    late: bool = False
    """Whether its turn had passed its deadline."""
    by: DeskId | None = None
    phase: str = ""
    """What its agent did under it; empty where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One kind of bundle of a gang: `least` of them at least, `most` at most."""

    agent: AgentId
    bundle: Resources
    least: int = 1
    most: int = 1
    where: NodeFilter = ANY_NODE


@dataclass(frozen=True, slots=True)
class GangWanted:
    """Bundles that must be held at the same time: all members' least, or none.

    All go to the desk that asks, which hands the grants on with the work.
    """

    gang: GangId
    desk: DeskId
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class GangGivenUp:
    """Nobody waits for the gang any more."""

    gang: GangId
    by: DeskId | None = None


@dataclass(frozen=True, slots=True)
class TermsChanged:
    """From now on offers are made on these terms, by the policy that they name.

    Nothing that is held changes hands because of it.
    """

    terms: Terms


@dataclass(frozen=True, slots=True)
class Ticked:
    """Nothing happened but time."""


Event = (
    NodeJoined
    | NodeLost
    | NodeDraining
    | NodeReopened
    | Reconciled
    | Voided
    | DeskJoined
    | DeskLost
    | Wanted
    | Suppressed
    | Revived
    | Held
    | Accepted
    | Declined
    | Finished
    | GangWanted
    | GangGivenUp
    | TermsChanged
    | Ticked
)
DeskEvent = Accepted | Declined | Finished


@dataclass(frozen=True, slots=True)
class SendOffer:
    """Tell the desk that the bundle is its own until the offer expires."""

    offer: Offer
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Granted:
    """From now on the offer's bundle, as it stands here, is in use."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Void:
    """Ask the engine never to start this offer, and whether it has."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Tell the desk that it no longer has this offer."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Freed:
    """The offer came to an end; its bundle is in the pool again."""

    offer: Offer

    @property
    def end(self) -> OfferState:
        """The state it ended in."""
        return self.offer.state


@dataclass(frozen=True, slots=True)
class AskBack:
    """An inverse offer: ask the desk to end what runs under the grant, within a time."""

    offer: Offer
    within: Micros


@dataclass(frozen=True, slots=True)
class Preempt:
    """Have the engine end what runs under the grant now; its phase goes on elsewhere."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is held on a draining node any more."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class GangRefused:
    """The gang gets nothing, and why; nothing of it is held."""

    gang: GangId
    desk: DeskId
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The event came too late, or broke the rules; nothing changed because of it."""

    event: Event
    why: str


Effect = (
    SendOffer
    | Granted
    | Void
    | Withdraw
    | Freed
    | AskBack
    | Preempt
    | Drained
    | GangRefused
    | Refused
)
