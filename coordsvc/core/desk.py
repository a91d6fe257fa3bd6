"""The offer desk of one agent replica, as a state machine: offers in hand ahead of need.

A phase takes an offer that the desk already holds and starts at once; the acceptance travels
beside the work. How much to hold follows the rate of phases times the time that a refill takes.

While the allocator is silent the desk goes on with what it holds: a grant that its engine says is
finished, and whose release nobody has been told of, is used again under a rising use number.
What was told to an allocator that may have heard it is never used again: it may be somebody's.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from coordsvc.core.acceptance import Decline, Need, answer
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.gangs_in_hand import GangsInHand
from coordsvc.core.liking import NOTHING, Held, liking, most_liked
from coordsvc.core.messages import Accepted, Declined, DeskEvent, Finished, Member
from coordsvc.core.offers import Grant, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.terms import DeskTerms
from coordsvc.core.units import (
    MILLISECOND,
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    TurnId,
    after,
    since,
)
from coordsvc.core.waits import Wait


@dataclass(slots=True)
class Desk:
    """The offers in hand at one replica, and what is still to be told to the allocator."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    terms: DeskTerms = field(default_factory=DeskTerms)
    where: NodeFilter = ANY_NODE
    least: Resources | None = None
    """The smallest bundle that is of use; None takes nothing less than `bundle`."""
    waiting: int = 0
    """Phases that wait for an offer; the shell keeps it."""
    waits: Sequence[Wait] = ()
    """The same, each; the shell keeps it, and may keep none."""
    gangs: GangsInHand = field(default_factory=GangsInHand)
    asked_back: dict[OfferId, Instant] = field(default_factory=dict)
    """Grants that the allocator wants ended, and until when."""
    silent: bool = False
    held: deque[Held] = field(default_factory=deque)
    epoch: Epoch | None = None
    _started: dict[OfferId, Held] = field(default_factory=dict)
    _resting: dict[OfferId, Held] = field(default_factory=dict)
    """Finished, and nobody told yet."""
    _unsaid: dict[OfferId, DeskEvent] = field(default_factory=dict)
    _unsaid_since: Instant | None = None
    _frees: bool = False
    """Whether of what is unsaid something gives a bundle back."""
    _pressed: bool = False
    """Whether phases waited in vain, here or elsewhere, when the allocator last spoke."""
    _waiting_told: int = 0
    _rate_per_s: float = 0.0
    _last_arrival: Instant | None = None
    _round_trip_us: Micros = Micros(5 * MILLISECOND)
    _lapse: Instant | None = None
    """Before then nothing in hand runs out; None when nothing will."""

    @property
    def at_rest(self) -> bool:
        """Tell whether nothing waits, is in hand, runs under a grant, or is still to be told."""
        waiting = self.waiting or self.gangs.wanted or self.gangs.news
        return not (waiting or self.held or self._started or self._unsaid)

    def arrived(self, now: Instant) -> None:
        """Take note of a phase that wants an offer; its rate says how many to hold."""
        self._rate_per_s = self._rate_now(now) + SECOND / self.terms.rate_window_us
        self._last_arrival = now

    def take(
        self,
        now: Instant,
        used: Resources,
        prefer: NodeId | None = None,
        *,
        turn: TurnId | None = None,
        prefix: str = "",
    ) -> Grant | None:
        """Return a grant to run a phase under, or None when nothing in hand is large enough.

        One meant for its `turn` goes first, then one on the node `prefer`, then one on a node that
        has `prefix` cached, then the oldest.
        """
        self._drop_lapsed(now)
        enough = used if self.least is None else self.least.at_most(used)
        found = self._most_liked(enough, turn, prefer, prefix)
        if found is None:
            return None
        self.held.remove(found)
        taken = used if self.least is None else found.grant.bundle.at_most(used)
        grant = found.grant.used(taken)
        self._started[grant.offer_id] = Held(
            grant, found.lapses, found.attributes, found.cached, found.meant_for, found.once
        )
        if grant.use == 1:
            self._say(now, Accepted(grant.offer_id, taken))
        return grant

    def _most_liked(
        self, enough: Resources, turn: TurnId | None, prefer: NodeId | None, prefix: str
    ) -> Held | None:
        """Return the offer for which most speaks; the first one for which nothing can speak more.

        Every phase comes by here, and mostly the oldest offer is as good as any. Where nobody
        waits, for whom an offer was meant does not matter any more.
        """
        if not self.waiting:
            turn = None
        return most_liked(self.held, enough, turn, prefer, prefix)

    def has_near(self, prefer: NodeId | None, prefix: str) -> bool:
        """Tell whether an offer is in hand where a conversation is cached, or nobody knows."""
        if prefer is None and not prefix:
            return True
        return any(liking(held, None, prefer, prefix) > NOTHING for held in self.held)

    def meant_in_hand(self) -> tuple[TurnId, ...]:
        """Return for which waiting turns offers in hand are meant, oldest first."""
        return tuple(held.meant_for for held in self.held if held.meant_for is not None)

    def finished(
        self,
        now: Instant,
        grant: Grant,
        compute_us: Micros = Micros(0),
        *,
        late: bool = False,
        phase: str = "",
    ) -> None:
        """Take the engine's word that nothing runs under the grant any more."""
        self.asked_back.pop(grant.offer_id, None)
        held = self._started.pop(grant.offer_id, None)
        if held is None:
            return
        if self.silent and not held.once:
            self.held.append(held)
        else:
            self._resting[grant.offer_id] = held
            self._say(now, Finished(grant.offer_id, compute_us, late, phase=phase))

    def ask_gang(self, now: Instant, gang: GangId, members: tuple[Member, ...]) -> None:
        """Want bundles that must be held at the same time, across agents and nodes, or none."""
        self.gangs.ask(gang, self.desk, members)
        self._has_news(now)

    def take_gang(self, now: Instant, gang: GangId) -> tuple[Grant, ...] | None:
        """Return grants for all of a gang, or None while it is not in hand."""
        self._give_back(now, self.gangs.lapsed(now))
        if gang not in self.gangs.ready():
            return None
        grants = tuple(replace(grant, use=1) for grant in self.gangs.take(gang))
        for grant in grants:
            self._started[grant.offer_id] = Held(grant, now, {}, once=True)
            self._say(now, Accepted(grant.offer_id, grant.bundle))
        return grants

    def give_up_gang(self, now: Instant, gang: GangId) -> None:
        """Want a gang no more; what of it is in hand is given back."""
        self._give_back(now, self.gangs.give_up(gang))
        self._has_news(now)

    def uncertain(self, grant: Grant) -> None:
        """Forget a grant of which nobody here knows whether it ran; its engine will tell."""
        self._started.pop(grant.offer_id, None)
        self.asked_back.pop(grant.offer_id, None)

    def node_lost(self, node: NodeId) -> int:
        """Drop what is held on a dead node; return how many offers that was."""
        before = len(self.held)
        self.held = deque(held for held in self.held if held.grant.node != node)
        self._started = {i: h for i, h in self._started.items() if h.grant.node != node}
        self._resting = {i: h for i, h in self._resting.items() if h.grant.node != node}
        self.asked_back = {i: until for i, until in self.asked_back.items() if i in self._started}
        for offer_id in self.gangs.node_lost(node):
            self._unsaid[offer_id] = Declined(offer_id)
        return before - len(self.held)

    def epoch_fenced(self, node: NodeId, epoch: Epoch) -> None:
        """Drop what is held on `node` under `epoch`: its engine obeys a later one."""
        self.held = deque(
            held for held in self.held if held.grant.node != node or held.grant.epoch != epoch
        )

    def ahead(self, now: Instant) -> int:
        """Return how many offers to hold beyond the phases that wait."""
        last = self._last_arrival
        if last is not None and since(last, now) > self.terms.suppress_after_us:
            return 0
        # half lasts while news lingers, so that refills, which cost what a phase's calls cost, are
        # few; the other half is there for what comes meanwhile
        refill_us = self.terms.linger_us + self._round_trip_us
        for_rate = round(2 * self._rate_now(now) * refill_us / SECOND)
        return min(self.terms.ahead_max, self.terms.ahead_min + for_rate)

    def report(self, now: Instant) -> DeskReport:
        """Return all that is unsaid; from now on it counts as said."""
        self._drop_lapsed(now)
        if self._last_arrival is None:
            self._last_arrival = now  # idleness counts from the first report
        events = (*self._unsaid.values(), *self.gangs.news)
        self._unsaid.clear()
        self.gangs.news.clear()
        self._resting.clear()
        self._unsaid_since = None
        self._frees = False
        self._waiting_told = self.waiting
        return DeskReport(
            desk=self.desk,
            agent=self.agent,
            bundle=self.bundle,
            waiting=self.waiting,
            ahead=self.ahead(now),
            events=events,
            waits=tuple(wait.told(now) for wait in self.waits[: self.terms.waits_told_max]),
            least=self.least,
            where=self.where,
        )

    def report_due(self, now: Instant) -> Instant | None:
        """Return when the next report should leave; None when there is nothing to tell."""
        if self.waiting > self._waiting_told or self.gangs.news:
            return now
        if self._unsaid_since is None:
            return None
        if self._frees and (self.waiting or self._pressed):
            # what has ended would be idle while the news lingers; one report at a time is under
            # way, and all that ends meanwhile goes with the next
            return now
        few = 2 * len(self.held) < self.ahead(now) + self.waiting
        linger = self.terms.linger_low_us if few else self.terms.linger_us
        return after(self._unsaid_since, linger)

    def heard(self, sent: Instant, now: Instant, reply: DeskReply, *, waited: bool) -> None:
        """Take an answer to the exchange that left at `sent`; `waited` if it was a long poll."""
        if not waited:
            self._round_trip_us = Micros((7 * self._round_trip_us + since(sent, now)) // 8)
        self._pressed = reply.pressed
        if self.silent:
            self._resume(now)
        if self.epoch is None or reply.epoch.supersedes(self.epoch):
            if self.epoch is not None:
                self.gangs.ask_again()
            self.epoch = reply.epoch
            self._waiting_told = 0
        for offer_id, within in reply.asked_back:
            if offer_id in self._started:
                self.asked_back[offer_id] = after(now, within)
        for offer_id in reply.withdrawn:
            self.held = deque(held for held in self.held if held.grant.offer_id != offer_id)
        if reply.withdrawn and self.gangs.wanted:
            self._give_back(now, self.gangs.lost(reply.withdrawn))
            self.gangs.ask_again()  # the offer of one may have been lost on its way
        self.gangs.refused.update(
            {gang: why for gang, why in reply.gangs_refused if gang in self.gangs.wanted}
        )
        mixed = any(held.grant.epoch != reply.epoch for held in self.held)
        for ticket in reply.offers:
            self._offered(now, sent, ticket, mixed=mixed)

    def fell_silent(self) -> None:
        """Take note that the allocator does not answer; keep what nobody was told is finished."""
        self.silent = True
        for offer_id, held in self._resting.items():
            if not held.once:
                del self._unsaid[offer_id]
                self.held.append(held)
        self._resting.clear()

    def _offered(self, now: Instant, sent: Instant, ticket: Ticket, *, mixed: bool) -> None:
        """Answer an offer; `mixed` if offers of another epoch than its own may be in hand."""
        if self.epoch is not None and self.epoch.supersedes(ticket.epoch):
            return
        if ticket.gang is not None:
            self._offered_of_gang(now, sent, ticket)
            return
        need = Need(
            demand=self.least or self.bundle,
            backlog=self.waiting,
            ahead=self.ahead(now),
            held=self._held_of(ticket.epoch) if mixed else len(self.held),
            where=self.where,
        )
        match answer(ticket, need):
            case Decline(refuse_for, _):
                self._say(now, Declined(ticket.offer_id, refuse_for))
            case _:
                grant = self._grant(ticket)
                if mixed:
                    self._drop_superseded(ticket.epoch, ticket.node)
                lapses = after(sent, ticket.lasts)
                self.held.append(
                    Held(grant, lapses, ticket.attributes, ticket.cached, ticket.meant_for)
                )
                self._lapse = lapses if self._lapse is None else min(self._lapse, lapses)

    def _offered_of_gang(self, now: Instant, sent: Instant, ticket: Ticket) -> None:
        assert ticket.gang is not None
        wanted = self.gangs.offered(ticket.gang, self._grant(ticket), after(sent, ticket.lasts))
        if not wanted:
            self._say(now, Declined(ticket.offer_id))

    def _grant(self, ticket: Ticket) -> Grant:
        return Grant(
            epoch=ticket.epoch,
            offer_id=ticket.offer_id,
            use=0,
            node=ticket.node,
            agent=ticket.agent or self.agent,
            desk=self.desk,
            bundle=ticket.bundle,
        )

    def _give_back(self, now: Instant, offers: Iterable[OfferId]) -> None:
        for offer_id in offers:
            self._say(now, Declined(offer_id))

    def _held_of(self, epoch: Epoch) -> int:
        return sum(1 for held in self.held if held.grant.epoch == epoch)

    def _drop_superseded(self, epoch: Epoch, node: NodeId) -> None:
        """Forget offers of earlier epochs on a node that the new allocator has fenced."""
        self.held = deque(
            held
            for held in self.held
            if held.grant.node != node or not epoch.supersedes(held.grant.epoch)
        )

    def _drop_lapsed(self, now: Instant) -> None:
        """Give back offers that ran out unused; in silence they are kept, and engines decide."""
        if self.silent or self._lapse is None or now < self._lapse:
            return
        kept: deque[Held] = deque()
        for held in self.held:
            if held.lapses > now or self._of_earlier_epoch(held):
                kept.append(held)
            else:
                self._say(now, Declined(held.grant.offer_id))
        self.held = kept
        self._lapse = min((held.lapses for held in kept if held.lapses > now), default=None)

    def _of_earlier_epoch(self, held: Held) -> bool:
        return self.epoch is not None and self.epoch.supersedes(held.grant.epoch)

    def _resume(self, now: Instant) -> None:
        """Tell a speaking allocator of grants that rest between two uses."""
        self.silent = False
        self.gangs.ask_again()
        for held in self.held:
            if held.grant.use > 0:
                self._say(now, Finished(held.grant.offer_id))
        self.held = deque(held for held in self.held if held.grant.use == 0)

    def _has_news(self, now: Instant) -> None:
        if self._unsaid_since is None:
            self._unsaid_since = now

    def _say(self, now: Instant, event: DeskEvent) -> None:
        """Queue news; of one offer only the last counts, for a finish implies an acceptance."""
        self._unsaid[event.offer_id] = event
        self._frees = self._frees or not isinstance(event, Accepted)
        if self._unsaid_since is None:
            self._unsaid_since = now
        while len(self._unsaid) > self.terms.unsaid_max:
            forgotten = next(iter(self._unsaid))
            del self._unsaid[forgotten]
            self._resting.pop(forgotten, None)

    def _rate_now(self, now: Instant) -> float:
        """Return phases a second, older ones counting less."""
        if self._last_arrival is None:
            return 0.0
        quiet = since(self._last_arrival, now) / self.terms.rate_window_us
        return self._rate_per_s * float(2.0 ** (-quiet))
