"""What waits at the allocator to be told to one desk."""

import asyncio
from dataclasses import dataclass, field

from coordsvc.core.exchange import DeskReply
from coordsvc.core.offers import Ticket
from coordsvc.core.units import Epoch, GangId, Instant, Micros, OfferId


@dataclass(slots=True)
class DeskLine:
    """What is to be told to one desk, and when it was last heard."""

    heard: Instant
    offers: list[Ticket] = field(default_factory=list)
    withdrawn: list[OfferId] = field(default_factory=list)
    asked_back: list[tuple[OfferId, Micros]] = field(default_factory=list)
    gangs_refused: list[tuple[GangId, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, ticket: Ticket) -> None:
        """Have an offer told."""
        self.offers.append(ticket)
        self.news.set()

    def withdraw(self, offer_id: OfferId) -> None:
        """Have it told that an offer is gone; if it was not told of yet, it is not told at all."""
        self.offers = [ticket for ticket in self.offers if ticket.offer_id != offer_id]
        self.withdrawn.append(offer_id)
        self.news.set()

    def ask_back(self, offer_id: OfferId, within: Micros) -> None:
        """Have it asked that a grant be ended."""
        self.asked_back.append((offer_id, within))
        self.news.set()

    def refuse_gang(self, gang: GangId, why: str) -> None:
        """Have it told that a gang cannot be."""
        self.gangs_refused.append((gang, why))
        self.news.set()

    async def something(self) -> None:
        """Return once there is something to tell; what another call has told already is not."""
        while not (self.offers or self.withdrawn or self.asked_back or self.gangs_refused):
            self.news.clear()
            await self.news.wait()

    def told(self, epoch: Epoch, *, pressed: bool) -> DeskReply:
        """Return all that is to be told; from now on it counts as told."""
        reply = DeskReply(
            epoch=epoch,
            offers=tuple(self.offers),
            withdrawn=tuple(self.withdrawn),
            asked_back=tuple(self.asked_back),
            gangs_refused=tuple(self.gangs_refused),
            pressed=pressed,
        )
        self.offers.clear()
        self.withdrawn.clear()
        self.asked_back.clear()
        self.gangs_refused.clear()
        return reply
