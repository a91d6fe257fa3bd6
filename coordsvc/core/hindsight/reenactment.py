"""Enacts a log anew under another policy: what would have been.

Desks, nodes and what is wanted of them come from outside: they happen again, at the same times.
What answered the log's own offers cannot happen again, for other offers will be made. So the log is
read as a list of phases (`phases_told`), each with its desk, when it began to wait, and how long
it then held its bundle; and these are enacted against whatever is offered now.

It is assumed that

* a phase takes as long under any policy and on any node, and begins to wait at the same time: a
  turn's later phases do not move when its earlier ones end sooner;
* a desk starts a phase at once when it is offered something: the one that the offer was meant for,
  else the one that waits longest. Messages take no time, and engines answer at once;
* a phase that is preempted, or whose node dies, waits again and is done anew; one whose desk dies
  is gone;
* a phase that the log never saw end takes as long as the mean of its agent's, or else of all.

Gangs are not enacted. Because of all this the log's own policy is enacted, too: what differs
between the two enactments is the policy, what differs from the log is what was assumed.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import ceil
from typing import Any

from coordsvc.core.allocator import Allocator
from coordsvc.core.hindsight.decisions import Decision
from coordsvc.core.hindsight.phases_told import PhaseTold, Story, told_by
from coordsvc.core.hindsight.snapshot import restore
from coordsvc.core.messages import (
    Accepted,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Finished,
    Freed,
    GangGivenUp,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Preempt,
    Reconciled,
    Revived,
    SendOffer,
    Suppressed,
    TermsChanged,
    Ticked,
    Void,
    Voided,
    Wanted,
    Withdraw,
)
from coordsvc.core.offers import ACCEPTED, ISSUED, RESCINDED, VOIDING, Offer
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.units import SECOND, AgentId, DeskId, Instant, Micros, OfferId, after, since

AGAIN = (
    NodeJoined,
    NodeLost,
    NodeDraining,
    NodeReopened,
    DeskJoined,
    DeskLost,
    Suppressed,
    Revived,
    Ticked,
    TermsChanged,
)
"""Events that come from outside, and happen again as they are."""
UNKNOWN_US = Micros(SECOND)
"""How long a phase takes where the log saw none end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A phase that got its bundle, or had not when the log ended."""

    desk: DeskId
    agent: AgentId
    turn: str
    asked: Instant
    began: Instant | None
    waited_us: Micros
    """Until it began, or until the log's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """The waits of one agent's phases."""

    phases: int
    unserved: int
    mean_us: int
    p95_us: int


@dataclass(frozen=True, slots=True)
class _Asks:
    """A phase, by its number, asks for an offer."""

    number: int


@dataclass(frozen=True, slots=True)
class _Ends:
    """What runs under an offer ends."""

    offer_id: OfferId


@dataclass(slots=True)
class _Desk:
    """A desk that starts what it can."""

    ahead: int = 0
    waiting: list[int] = field(default_factory=list)
    """Phases by number, in the order in which they asked."""
    in_hand: dict[OfferId, Offer] = field(default_factory=dict)


class Enactment:
    """The log's phases against one policy."""

    def __init__(self, allocator: Allocator, story: Story, policy: PolicyTerms | None) -> None:
        """`policy` takes the place of the log's; None leaves it."""
        self.served: list[Served] = []
        self._core = allocator
        self._phases = story.phases
        self._ends = story.ends
        self._policy = policy
        self._lasts = _lasts(story.phases)
        self._desks: defaultdict[DeskId, _Desk] = defaultdict(_Desk)
        self._running: dict[OfferId, int | None] = {}
        self._began: dict[int, Instant] = {}
        self._agenda: list[tuple[Instant, int, Event | _Asks | _Ends]] = []
        self._count = count()

    def run(self, log: Sequence[Decision]) -> list[Served]:
        """Enact all of the log; return the phases in the order in which they asked."""
        start = self._core.now
        self._take_over(start)
        for decision in log:
            self._plan(decision.at, decision.event)
        for number, phase in enumerate(self._phases):
            self._plan(max(start, phase.wait.asked), _Asks(number))
        for offer_id, end in self._ends.items():
            self._plan(end, _Ends(offer_id))
        last = log[-1].at if log else start
        while self._agenda and self._agenda[0][0] <= last:
            now, _, what = heapq.heappop(self._agenda)
            match what:
                case _Ends(offer_id):
                    self._finish(now, offer_id)
                case _Asks(number):
                    self._asks(now, number)
                case _:
                    self._happens(now, what)
        return [self._outcome(number, last) for number in range(len(self._phases))]

    def _plan(self, at: Instant, what: Event | _Asks | _Ends) -> None:
        heapq.heappush(self._agenda, (at, next(self._count), what))

    def _take_over(self, now: Instant) -> None:
        """Go on with what is open at the log's beginning, on the new terms."""
        for desk, state in self._core.desks.items():
            self._desks[desk].ahead = state.ahead
        for offer in self._core.ledger.offers.values():
            if offer.state is ISSUED and offer.gang is None:
                self._desks[offer.desk].in_hand[offer.offer_id] = offer
            elif offer.state is ACCEPTED:
                self._running[offer.offer_id] = None
        if self._policy is not None:
            terms = replace(self._core.terms, policy=self._policy)
            self._tell(now, TermsChanged(terms))
        for gang in tuple(self._core.books.gangs.waiting):
            self._tell(now, GangGivenUp(gang))
        for offer in tuple(self._core.ledger.offers.values()):
            if offer.state is VOIDING:
                self._tell(now, Voided(offer.offer_id, was_started=False))
        for desk in tuple(self._core.desks):
            self._wants(now, desk)

    def _happens(self, now: Instant, event: Event) -> None:
        """Have an event of the log happen again, as far as it comes from outside."""
        match event:
            case Wanted(desk, _, ahead):
                self._desks[desk].ahead = ahead
                if desk in self._core.desks:
                    self._wants(now, desk)
            case Reconciled(node, _, _, cached):
                here = self._core.ledger.on_node(node)
                running = frozenset(one.offer_id for one in here if one.state is ACCEPTED)
                self._tell(now, Reconciled(node, running, (), cached))
            case TermsChanged(terms) if self._policy is not None:
                self._tell(now, TermsChanged(replace(terms, policy=self._policy)))
            case DeskLost(desk):
                self._desks.pop(desk, None)
                self._tell(now, event)
            case NodeJoined(running=running):
                self._running.update(dict.fromkeys(grant.offer_id for grant in running))
                self._tell(now, event)
            case _ if isinstance(event, AGAIN):
                self._tell(now, event)
            case _:
                pass

    def _asks(self, now: Instant, number: int) -> None:
        """Have a phase begin to wait; it starts at once if its desk has something in hand."""
        name = self._phases[number].desk
        if name not in self._core.desks:
            return
        desk = self._desks[name]
        desk.waiting.append(number)
        if desk.in_hand:
            self._start(now, next(iter(desk.in_hand.values())))
        self._wants(now, name)

    def _wants(self, now: Instant, name: DeskId) -> None:
        desk = self._desks[name]
        told = tuple(self._phases[number].wait.told(now) for number in desk.waiting)
        self._tell(now, Wanted(name, len(told), desk.ahead, told))

    def _tell(self, now: Instant, event: Event) -> None:
        for effect in self._core.handle(now, event):
            self._answer(now, effect)

    def _answer(self, now: Instant, effect: Effect) -> None:
        match effect:
            case SendOffer(offer):
                self._desks[offer.desk].in_hand[offer.offer_id] = offer
                if self._desks[offer.desk].waiting:
                    self._start(now, offer)
            case Withdraw(offer):
                self._desks[offer.desk].in_hand.pop(offer.offer_id, None)
            case Void(offer):
                self._desks[offer.desk].in_hand.pop(offer.offer_id, None)
                self._tell(now, Voided(offer.offer_id, offer.offer_id in self._running))
            case Preempt(offer):
                self._again(offer)
                self._finish(now, offer.offer_id)
            case Freed(offer) if offer.state is RESCINDED:
                self._again(offer)
            case _:
                pass

    def _start(self, now: Instant, offer: Offer) -> None:
        """Start the phase that the offer was meant for, or the one that waits longest."""
        desk = self._desks[offer.desk]
        if (found := self._core.ledger.offers.get(offer.offer_id)) is None:
            return
        if found.state is not ISSUED or offer.offer_id not in desk.in_hand:
            return
        meant = (n for n in desk.waiting if self._phases[n].wait.turn == offer.meant_for)
        number = next(meant, desk.waiting[0])
        desk.waiting.remove(number)
        del desk.in_hand[offer.offer_id]
        self._running[offer.offer_id] = number
        self._began.setdefault(number, now)
        lasts = self._lasts[number]
        self._plan(after(now, lasts), _Ends(offer.offer_id))
        self._tell(now, Accepted(offer.offer_id, self._phases[number].used.at_most(offer.bundle)))

    def _finish(self, now: Instant, offer_id: OfferId) -> None:
        if offer_id in self._running and offer_id in self._core.ledger.offers:
            number = self._running.pop(offer_id)
            compute = self._lasts[number] if number is not None else Micros(0)
            phase = self._phases[number].phase if number is not None else ""
            self._tell(now, Finished(offer_id, compute, phase=phase))

    def _again(self, offer: Offer) -> None:
        """Have a phase wait anew whose bundle was taken from it."""
        number = self._running.get(offer.offer_id)
        if number is not None and offer.desk in self._core.desks:
            self._running[offer.offer_id] = None
            self._desks[offer.desk].waiting.append(number)
            self._plan(self._core.now, Wanted(offer.desk, 0, self._desks[offer.desk].ahead))

    def _outcome(self, number: int, last: Instant) -> Served:
        phase, began = self._phases[number], self._began.get(number)
        return _served(phase, began, last)


def as_it_was(story: Story, last: Instant) -> list[Served]:
    """Return the phases as the log itself tells of them."""
    return [_served(phase, phase.began, last) for phase in story.phases]


def by_agent(served: Iterable[Served]) -> dict[AgentId, Waits]:
    """Return the waits of each agent's phases; an unserved one waits to the end."""
    waits: dict[AgentId, list[Served]] = {}
    for one in served:
        waits.setdefault(one.agent, []).append(one)
    return {agent: _summed(waits[agent]) for agent in sorted(waits)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """One log under two policies."""

    logged: list[Served]
    """As it was."""
    same: list[Served]
    """Enacted under the log's own policy."""
    other: list[Served]
    """Enacted under the other one."""


def what_if(state: Any, log: Sequence[Decision], policy: PolicyTerms) -> WhatIf:
    """Return who was served when in a log that began in `state`, and who would have been."""
    begun = restore(state)
    desks = {one.desk: (one.agent, one.bundle) for one in begun.desks.values()}
    story = told_by(log, desks, tuple(begun.ledger.offers.values()))
    last = log[-1].at if log else begun.now
    return WhatIf(
        logged=as_it_was(story, last),
        same=Enactment(begun, story, None).run(log),
        other=Enactment(restore(state), story, policy).run(log),
    )


def _served(phase: PhaseTold, began: Instant | None, last: Instant) -> Served:
    return Served(
        desk=phase.desk,
        agent=phase.agent,
        turn=phase.wait.turn,
        asked=phase.wait.asked,
        began=began,
        waited_us=since(phase.wait.asked, last if began is None else began),
    )


def _summed(served: Sequence[Served]) -> Waits:
    waited = sorted(one.waited_us for one in served)
    return Waits(
        phases=len(waited),
        unserved=sum(one.began is None for one in served),
        mean_us=round(sum(waited) / len(waited)),
        p95_us=waited[ceil(0.95 * len(waited)) - 1],
    )


def _lasts(phases: Sequence[PhaseTold]) -> list[Micros]:
    """Return how long each phase takes: as told, or the mean of its agent's, or of all."""
    known: defaultdict[AgentId | None, list[Micros]] = defaultdict(list)
    for phase in phases:
        if phase.lasted is not None:
            known[phase.agent].append(phase.lasted)
            known[None].append(phase.lasted)

    def mean(agent: AgentId) -> Micros:
        seen = known.get(agent) or known.get(None)
        return Micros(round(sum(seen) / len(seen))) if seen else UNKNOWN_US

    return [mean(one.agent) if one.lasted is None else one.lasted for one in phases]
