"""What the allocator is told (events) and what it wants done (effects)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordsvc.core.offers import Grant, Offer, OfferState, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Micros, NodeId, OfferId


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """An engine was fenced for this epoch: `running` is all that runs on it, of any epoch."""

    node: NodeId
    capacity: Resources
    attributes: Mapping[str, str] = field(default_factory=dict)
    running: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeLost:
    """An engine died or left: nothing runs there any more."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Reconciled:
    """An engine's own word, told regularly: what runs, and what ended since it last told."""

    node: NodeId
    running: frozenset[OfferId]
    finished: tuple[OfferId, ...]


@dataclass(frozen=True, slots=True)
class Voided:
    """An engine's answer to `Void`: either it will never start the offer, or it has."""

    offer_id: OfferId
    was_started: bool


@dataclass(frozen=True, slots=True)
class DeskJoined:
    """An agent's replica asks for offers of one size."""

    desk: DeskId
    agent: AgentId
    bundle: Resources


@dataclass(frozen=True, slots=True)
class DeskLost:
    """A replica died, left, or has been silent too long."""

    desk: DeskId


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many offers a desk wants to hold: for phases that wait now, and ahead of need.

    Nothing of either suppresses; anything revives.
    """

    desk: DeskId
    waiting: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """A phase started under the offer, with `used` of its bundle; the rest is declined."""

    offer_id: OfferId
    used: Resources


@dataclass(frozen=True, slots=True)
class Declined:
    """The desk gives back an offer that it never started, and refuses its node for a while."""

    offer_id: OfferId
    refuse_for: Micros = Micros(0)


@dataclass(frozen=True, slots=True)
class Finished:
    """The engine's word, relayed by the desk, that nothing runs under the grant any more."""

    offer_id: OfferId


@dataclass(frozen=True, slots=True)
class Ticked:
    """Nothing happened but time."""


Event = (
    NodeJoined
    | NodeLost
    | Reconciled
    | Voided
    | DeskJoined
    | DeskLost
    | Wanted
    | Accepted
    | Declined
    | Finished
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
class Refused:
    """The event came too late, or broke the rules; nothing changed because of it."""

    event: Event
    why: str


Effect = SendOffer | Granted | Void | Withdraw | Freed | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskReport:
    """What a desk tells in one exchange; `events` happened in this order."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    waiting: int
    ahead: int
    events: tuple[DeskEvent, ...] = ()

    def told(self) -> tuple[Event, ...]:
        """Return what the allocator is told by this, in order: what is wanted comes last."""
        return (*self.events, Wanted(self.desk, self.waiting, self.ahead))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskReply:
    """What a desk is told in answer."""

    epoch: Epoch
    offers: tuple[Ticket, ...] = ()
    withdrawn: tuple[OfferId, ...] = ()
