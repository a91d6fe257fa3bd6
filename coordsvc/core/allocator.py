"""The Mesos-style allocator, as a state machine: events in, effects out.

Rule 1: every decision about resources is made in this package.
Rule 2: nothing in this package knows the time, the network, Ray, or chance. The time arrives
with each event, and what should happen next leaves as effects.
Rule 3: a bundle returns to the pool only on the engine's word (finished, voided, dead), or on
the desk's for an offer that it never started. Expiry and rescission ask the engine first.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any

from coordsvc.core.allocation import desk_events, node_events
from coordsvc.core.allocation.books import Books
from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.dispatch import Dispatch
from coordsvc.core.allocation.gangs import Gangs
from coordsvc.core.allocation.issuing import Issuer
from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.allocation.recall import Recall
from coordsvc.core.errors import ProtocolError
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Finished,
    GangGivenUp,
    GangRefused,
    GangWanted,
    Held,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Reconciled,
    Refused,
    Revived,
    Suppressed,
    TermsChanged,
    Ticked,
    Voided,
    Wanted,
)
from coordsvc.core.offers import EXPIRED, ISSUED
from coordsvc.core.policies import Policy
from coordsvc.core.policies.catalogue import PolicyTerms, make
from coordsvc.core.policies.utility import Utility
from coordsvc.core.roles import Roles
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, OfferId

DEFAULT_TERMS = Terms()


class Allocator:
    """Offers free bundles to desks, by a policy, and takes them back only when that is safe."""

    def __init__(
        self,
        epoch: Epoch,
        terms: Terms = DEFAULT_TERMS,
        policy: Policy | None = None,
        make_policy: Callable[[PolicyTerms], Policy] = make,
    ) -> None:
        """`policy` takes the place of the one that the terms name; until they name another."""
        self.epoch = epoch
        self.terms = terms
        ledger = Ledger(Roles(terms.roles))
        issuer = Issuer(epoch, terms, ledger)
        dispatch = Dispatch(ledger, policy or make_policy(terms.policy), terms.offers_per_desk_max)
        gangs = Gangs(ledger, dispatch, issuer)
        self.books = Books(terms, ledger, issuer, dispatch, gangs, Recall(ledger, dispatch))
        self.make_policy = make_policy
        self.now = Instant(0)

    @property
    def ledger(self) -> Ledger:
        """Who holds what."""
        return self.books.ledger

    @property
    def desks(self) -> dict[DeskId, DeskState]:
        """The desks that have joined."""
        return self.books.dispatch.desks

    @property
    def policy(self) -> Policy:
        """The order in which claims are served."""
        return self.books.dispatch.policy

    @property
    def limits_met(self) -> Counter[str]:
        """How often each bound of the terms was reached."""
        return self.books.limits_met

    @property
    def pressed(self) -> bool:
        """Whether phases wait in vain."""
        return any(True for _ in self.books.dispatch.kinds_full_and_waiting())

    def utilities(self) -> dict[AgentId, float]:
        """Return u_i of what each agent holds now; nothing where the policy knows no utilities."""
        policy = self.policy
        if not isinstance(policy, Utility):
            return {}
        agents = dict.fromkeys(state.agent for state in self.desks.values())
        roles = self.ledger.roles
        return {
            agent: policy.utilities.utility(agent, roles.get(agent).bundles) for agent in agents
        }

    def handle(self, now: Instant, event: Event) -> list[Effect]:
        """Apply one event, then offer whatever it made free.

        A clock that steps back is taken to stand still.
        """
        self.now = now = max(now, self.now)
        effects = self._time_came(now)
        try:
            effects += _REACTIONS.get(type(event), _unknown)(self, now, event)
        except ProtocolError as refusal:
            why = f"{type(refusal).__name__}: {refusal}"
            effects.append(Refused(event, why))
            if isinstance(event, GangWanted) and not self.books.gangs.knows(event):
                effects.append(GangRefused(event.gang, event.desk, why))
        self._offer(now, effects)
        return effects

    def next_expiry(self) -> Instant | None:
        """Return when a `Ticked` is due at the latest: an offer or a time of grace runs out."""
        books = self.books
        alarms = [books.gangs.next_alarm(), books.recall.next_alarm()]
        if books.issuer.expiries:
            alarms.append(books.issuer.expiries[0][0])
        if books.refusals_end:
            alarms.append(books.refusals_end[0][0])
        return min((alarm for alarm in alarms if alarm is not None), default=None)

    def last_issued(self) -> OfferId:
        """Return the highest offer id of this epoch so far; a fence must not honour it or less."""
        return self.books.issuer.last()

    def _time_came(self, now: Instant) -> list[Effect]:
        """Take back what ran out, and end what overstayed."""
        books = self.books
        effects: list[Effect] = []
        expiries = books.issuer.expiries
        while expiries and expiries[0][0] <= now:
            _, offer_id = heapq.heappop(expiries)
            offer = books.ledger.offers.get(offer_id)
            if offer and offer.state is ISSUED:
                effects += books.take_back(now, offer, EXPIRED)
        if books.refusals_end:
            books.refusals_ended(now)
        return effects + books.recall.overdue(now)

    def _offer(self, now: Instant, effects: list[Effect]) -> None:
        """Offer what is free; where that is not enough, take back what can be."""
        books = self.books
        if books.gangs.waiting:
            effects += books.gangs.offer(now)
        for choice in books.dispatch.choices(now):
            sent = books.issuer.issue(now, choice)
            choice.desk.issued += 1
            choice.desk.mean_for(sent.offer.meant_for)
            books.dispatch.held_changed(sent.offer.agent)
            books.desk_changed(choice.desk)
            effects.append(sent)
        for offer in books.recall.held_ahead(books.gangs.missing()):
            effects += books.take_back(now, offer)
        effects += books.recall.borrowed(now, self.terms)


def _terms_changed(allocator: Allocator, now: Instant, event: TermsChanged) -> list[Effect]:
    """Offer on other terms from now on; raise if they name no policy that there is."""
    books = allocator.books
    event.terms.check()
    if event.terms.policy != allocator.terms.policy:
        try:
            books.dispatch.policy = allocator.make_policy(event.terms.policy)
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        for state in books.dispatch.desks.values():
            for wait in state.waits.values():
                allocator.policy.arrived(now, state.agent, wait, books.ledger.total)
    allocator.terms = books.terms = books.issuer.terms = event.terms
    books.dispatch.offers_per_desk_max = event.terms.offers_per_desk_max
    books.ledger.roles.change(event.terms.roles)
    books.dispatch.reorder()
    return []


def _unknown(allocator: Allocator, now: Instant, event: object) -> list[Effect]:
    del allocator, now
    raise ProtocolError(f"{type(event).__name__} is nothing that is told to an allocator")


def _ticked(allocator: Allocator, now: Instant, event: Ticked) -> list[Effect]:
    """Ask the policy whether its order has changed as time passed."""
    del event
    dispatch = allocator.books.dispatch
    agents = dict.fromkeys(state.agent for state in dispatch.desks.values())
    held = {agent: dispatch.ledger.roles.get(agent).bundles for agent in agents}
    if dispatch.policy.refresh(now, held):
        dispatch.reorder()
    return []


Reaction = Callable[[Allocator, Instant, Any], list[Effect]]


def _with_books(reaction: Callable[[Books, Instant, Any], list[Effect]]) -> Reaction:
    def react(allocator: Allocator, now: Instant, event: Any) -> list[Effect]:
        return reaction(allocator.books, now, event)

    return react


_REACTIONS: dict[type[Any], Reaction] = {
    NodeJoined: _with_books(node_events.node_joined),
    NodeLost: _with_books(node_events.node_lost),
    NodeDraining: _with_books(node_events.draining),
    NodeReopened: _with_books(node_events.reopened),
    Reconciled: _with_books(node_events.reconciled),
    Voided: _with_books(node_events.voided),
    DeskJoined: _with_books(desk_events.desk_joined),
    DeskLost: _with_books(desk_events.desk_lost),
    Wanted: _with_books(desk_events.wanted),
    Suppressed: _with_books(desk_events.suppressed),
    Revived: _with_books(desk_events.revived),
    Held: _with_books(desk_events.held),
    Accepted: _with_books(desk_events.accepted),
    Declined: _with_books(desk_events.declined),
    Finished: _with_books(desk_events.finished),
    GangWanted: _with_books(desk_events.gang_wanted),
    GangGivenUp: _with_books(desk_events.gang_given_up),
    TermsChanged: _terms_changed,
    Ticked: _ticked,
}
"""What is done about each kind of event."""
