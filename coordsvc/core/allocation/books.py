"""All that an allocator knows, and the moves that every reaction to an event is made of."""

import heapq
from collections import Counter
from dataclasses import dataclass, field

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.dispatch import Dispatch
from coordsvc.core.allocation.gangs import Gangs
from coordsvc.core.allocation.issuing import Issuer
from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.allocation.recall import Recall
from coordsvc.core.errors import Overdraft, ProtocolError
from coordsvc.core.messages import Drained, Effect, Freed, Granted, Void, Withdraw
from coordsvc.core.offers import (
    ACCEPTED,
    GATHERED,
    ISSUED,
    RELEASED,
    RESCINDED,
    VOIDING,
    Offer,
    OfferState,
)
from coordsvc.core.policies import Ended
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import DeskId, Instant, Micros, NodeId, OfferId, after


@dataclass(slots=True)
class Books:
    """Who holds what, who wants what, and what is being taken back."""

    terms: Terms
    ledger: Ledger
    issuer: Issuer
    dispatch: Dispatch
    gangs: Gangs
    recall: Recall
    limits_met: Counter[str] = field(default_factory=Counter)
    """How often each bound of the terms was reached."""
    unseen: dict[OfferId, int] = field(default_factory=dict)
    """Reports in a row of its engine that lacked an offer that should run there."""
    told_ended: dict[NodeId, dict[OfferId, Offer]] = field(default_factory=dict)
    """Grants whose desks said that they ended, until their engines have told what runs."""
    doubted: dict[OfferId, None] = field(default_factory=dict)
    """Of those, the ones that their engines once said run all the same."""
    refusals_end: list[tuple[Instant, DeskId]] = field(default_factory=list)
    """When desks may be tried again that refused a node, or declined too fast."""

    def met(self, limit: str) -> str:
        """Count that a bound of the terms was reached; return the words for it."""
        self.limits_met[limit] += 1
        return f"{limit} is {getattr(self.terms, limit)}, and reached"

    def desk(self, desk: DeskId) -> DeskState:
        """Return a desk that has joined, or refuse."""
        try:
            return self.dispatch.desks[desk]
        except KeyError:
            raise ProtocolError(f"desk {desk} has not joined") from None

    def desk_changed(self, state: DeskState) -> None:
        """Have everybody know what a desk holds and wants now."""
        self.dispatch.changed(state)
        self.recall.changed(state)

    def start(self, now: Instant, offer: Offer, used: Resources) -> list[Effect]:
        """Move an offer to ACCEPTED, with `used` of its bundle; the rest is free.

        Where its node drains it is asked back at once: it started while it was being taken back.
        """
        granted = self._start(now, offer, used)
        effects: list[Effect] = [granted]
        if (preempt := self.recall.draining.get(offer.node)) is not None:
            within = self.terms.ask_back_us
            effects.append(self.recall.ask_back(granted.offer, now, within, preempt=preempt))
        return effects

    def _start(self, now: Instant, offer: Offer, used: Resources) -> Granted:
        if not offer.bundle.covers(used):
            raise Overdraft(f"offer {offer.offer_id} holds {offer.bundle}, not {used}")
        self.ledger.move(offer.offer_id, ACCEPTED, now)
        granted = self.ledger.shrink(offer.offer_id, used)
        if granted.bundle != offer.bundle:
            self.dispatch.held_changed(offer.agent)
        if offer.gang is not None:
            self.gangs.started(offer.gang, offer.offer_id)
        if (state := self.dispatch.desks.get(offer.desk)) is not None:
            if offer.state is ISSUED and offer.gang is None:
                state.issued -= 1
                state.no_longer_meant(offer.meant_for)
            if state.waiting and offer.gang is None:  # the desk's next report will say so, too
                state.waiting -= 1
            if offer.meant_for is not None:
                state.waits.pop(offer.meant_for, None)
            self.desk_changed(state)
        return Granted(granted)

    def free(self, now: Instant, offer_id: OfferId, end: OfferState) -> list[Effect]:
        """End an offer; its bundle is in the pool again."""
        offer = self.ledger.find(offer_id)
        freed = Freed(self.ledger.move(offer_id, end, now))
        effects: list[Effect] = [] if offer.state is GATHERED else [freed]  # nobody knew of it
        self.unseen.pop(offer_id, None)
        self.recall.ended(offer_id)
        self.dispatch.held_changed(offer.agent)
        if offer.state is ISSUED:
            self._no_longer_issued(offer)
        if offer.gang is not None and offer.state is not ACCEPTED:
            effects += self._break_up(now, offer)
        if offer.node in self.recall.draining and not self.ledger.on_node(offer.node):
            effects.append(Drained(offer.node))
        return effects

    def take_back(
        self, now: Instant, offer: Offer, end: OfferState = RESCINDED, *, tell: bool = True
    ) -> list[Effect]:
        """Withdraw an issued offer, and ask its engine whether it was started."""
        self._no_longer_issued(offer)
        voiding = self.ledger.move(offer.offer_id, VOIDING, now, voided_as=end)
        effects: list[Effect] = [Withdraw(offer)] if tell else []
        effects.append(Void(voiding))
        return effects + (self._break_up(now, offer) if offer.gang is not None else [])

    def finish(
        self,
        now: Instant,
        offer_id: OfferId,
        compute_us: Micros = Micros(0),
        *,
        late: bool = False,
        phase: str = "",
    ) -> list[Effect]:
        """End a grant on the engine's word; an acceptance that was never heard of is implied."""
        effects: list[Effect] = []
        offer = self.ledger.find(offer_id)
        began = offer.since
        if offer.state is not ACCEPTED:
            effects.append(self._start(now, offer, offer.bundle))
            began = Instant(now - compute_us)
        if began < now:  # else nothing is known of it
            end = Ended(
                agent=offer.agent,
                bundle=offer.bundle,
                began=began,
                ended=now,
                compute_us=compute_us,
                late=late,
                phase=phase,
            )
            self.dispatch.policy.ended(now, end)
        return effects + self.free(now, offer_id, RELEASED)

    def ended_on_word(self, offer: Offer) -> None:
        """Remember, until its engine has told what runs, that a desk said that a grant ended."""
        told = self.told_ended.setdefault(offer.node, {})
        told[offer.offer_id] = offer
        if len(told) > self.terms.ends_per_node_max:
            self.met("ends_per_node_max")
            self.doubted.pop(next(iter(told)), None)
            del told[next(iter(told))]

    def refuse(self, now: Instant, offer: Offer, refuse_for: Micros) -> None:
        """Let the offer's desk not be offered its node for a while."""
        state = self.dispatch.desks.get(offer.desk)
        if state is None or refuse_for <= 0:
            return
        until = after(now, min(refuse_for, self.terms.refuse_for_max_us))
        if state.refuse(offer.node, until, self.terms.filters_per_desk_max):
            self.met("filters_per_desk_max")
            self.dispatch.no_longer_picky(state.desk)  # the forgotten node may be offered again
        heapq.heappush(self.refusals_end, (until, state.desk))

    def count_decline(self, now: Instant, desk: DeskId) -> None:
        """Leave a desk alone for a while that does nothing but decline."""
        state = self.dispatch.desks.get(desk)
        if state is None:
            return
        until = state.count_decline(now, self.terms.declines_per_second_max)
        if until is not None:
            self.met("declines_per_second_max")
            heapq.heappush(self.refusals_end, (until, desk))
            self.desk_changed(state)

    def refusals_ended(self, now: Instant) -> None:
        """Try desks again whose refusals, or times of rest, have ended."""
        while self.refusals_end and self.refusals_end[0][0] <= now:
            _, desk = heapq.heappop(self.refusals_end)
            if (state := self.dispatch.desks.get(desk)) is not None:
                for node in [n for n, until in state.refused_until.items() if until <= now]:
                    del state.refused_until[node]
                if state.quiet_until <= now:
                    state.quiet_until = Instant(0)
                self.dispatch.no_longer_picky(desk)
                self.desk_changed(state)

    def _no_longer_issued(self, offer: Offer) -> None:
        state = self.dispatch.desks.get(offer.desk)
        if state is not None and offer.gang is None:
            state.issued -= 1
            state.no_longer_meant(offer.meant_for)
            self.desk_changed(state)

    def _break_up(self, now: Instant, offer: Offer) -> list[Effect]:
        """Take back the rest of a gang of which this one was not started."""
        assert offer.gang is not None
        effects: list[Effect] = []
        for offer_id in self.gangs.break_up(offer.gang, offer.offer_id):
            other = self.ledger.offers.get(offer_id)
            if other is not None and other.state is ISSUED:
                effects += self.take_back(now, other)
        return effects


def is_here(books: Books, node: NodeId) -> None:
    """Refuse what is said of a node that has not joined."""
    if node not in books.ledger.capacity:
        raise ProtocolError(f"node {node} is not here")
