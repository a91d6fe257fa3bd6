"""What a desk and the allocator say to each other in one exchange."""

from dataclasses import dataclass, replace

from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.messages import (
    Accepted,
    DeskEvent,
    Event,
    Finished,
    GangGivenUp,
    GangWanted,
    Wanted,
)
from coordsvc.core.offers import Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, GangId, Micros, OfferId
from coordsvc.core.waits import PhaseWait


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskReport:
    """What a desk tells in one exchange; `events` happened in this order."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    waiting: int
    ahead: int
    events: tuple[DeskEvent | GangWanted | GangGivenUp, ...] = ()
    waits: tuple[PhaseWait, ...] = ()
    """The most urgent of the phases that wait."""
    least: Resources | None = None
    where: NodeFilter = ANY_NODE

    def told(self) -> tuple[Event, ...]:
        """Return what the allocator is told by this, in order: what is wanted comes last.

        Each event says that it is this desk's word, so that none speaks for another.
        """
        wanted = Wanted(self.desk, self.waiting, self.ahead, self.waits)
        return (*(self._said(event) for event in self.events), wanted)

    def _said(self, event: DeskEvent | GangWanted | GangGivenUp) -> Event:
        if isinstance(event, GangWanted):
            return replace(event, desk=self.desk) if event.desk != self.desk else event
        match event:  # `replace` takes three times as long, and every phase comes by here twice
            case Accepted(offer_id, used, refuse_for):
                return Accepted(offer_id, used, refuse_for, self.desk)
            case Finished(offer_id, compute_us, late, _, phase):
                return Finished(offer_id, compute_us, late, self.desk, phase)
            case _:
                return replace(event, by=self.desk)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskReply:
    """What a desk is told in answer."""

    epoch: Epoch
    offers: tuple[Ticket, ...] = ()
    withdrawn: tuple[OfferId, ...] = ()
    asked_back: tuple[tuple[OfferId, Micros], ...] = ()
    """Inverse offers: what to end, and within what time."""
    refused: str | None = None
    """Why the desk is not served at all; it asks again, for the pool may change."""
    gangs_refused: tuple[tuple[GangId, str], ...] = ()
    pressed: bool = False
    """Whether phases wait in vain anywhere: what ends should be told at once."""
