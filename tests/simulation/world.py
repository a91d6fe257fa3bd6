"""Allocators, desks and engines with a post between them that is late, lossy and out of order.

Everything that decides is the core's own; this is a shell like `coordsvc.serving`, with the
network as a list from which somebody takes the next message to arrive. What may happen:

    from            to          message         lost  twice  what the loss means
    desk            allocator   Report          yes   no     a crash of either, or of the call
    allocator       desk        Reply           yes   no     the same
    desk            engine      Work            yes   yes    the engine never sees it
    engine          desk        Outcome         yes   no     the desk is left uncertain
    allocator       engine      Question        yes   yes    it is asked again some day
    allocator       engine      Ending          yes   yes    it is preempted again after a while
    engine          allocator   Word (event)    yes   yes    the next one says it again
    allocator       engine      Fence           yes   yes    the engine asks to be joined again
    engine          allocator   Joined          yes   no     the same

Engines and desks die; so does the allocator, and a new one of the next epoch takes over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from coordsvc.core.allocator import Allocator
from coordsvc.core.desk import Desk
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.guard import Guard, Refusal
from coordsvc.core.messages import (
    AskBack,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    GangRefused,
    Member,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Preempt,
    Reconciled,
    Refused,
    SendOffer,
    Ticked,
    Void,
    Voided,
    Withdraw,
)
from coordsvc.core.offers import Grant, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import DeskTerms, Terms
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
)

TERMS = Terms(
    offer_lasts_us=Micros(2 * SECOND),
    offer_margin_us=Micros(SECOND // 10),
    refuse_for_max_us=Micros(3 * SECOND),
    roles={RoleId("responder"): RoleTerms(guarantee=Resources(gpu_milli=500))},
    ask_back_us=Micros(SECOND // 2),
    gang_hold_us=Micros(SECOND // 4),
    gang_rest_max_us=Micros(SECOND),
)
DESK_TERMS = DeskTerms(ahead_min=1, ahead_max=3)
LONG_US = Micros(DESK_TERMS.suppress_after_us + 10 * SECOND)
"""After so long, offers have run out, refusals have ended, and desks want nothing."""


@dataclass(frozen=True)
class Report:
    """What a desk tells, and when it left."""

    report: DeskReport
    sent: Instant


@dataclass(frozen=True)
class Reply:
    """What a desk is told."""

    desk: DeskId
    sent: Instant
    reply: DeskReply


@dataclass(frozen=True)
class Work:
    """A phase on its way to the engine, with its grant."""

    grant: Grant


@dataclass(frozen=True)
class Outcome:
    """What became of a phase: done (None), refused, or its engine is gone."""

    grant: Grant
    refusal: Refusal | None = None
    node_gone: bool = False


@dataclass(frozen=True)
class Question:
    """Whether an engine has started an offer; if not, it never will."""

    node: NodeId
    offer_id: OfferId


@dataclass(frozen=True)
class Ending:
    """An engine is to end what runs under a grant."""

    node: NodeId
    offer_id: OfferId


@dataclass(frozen=True)
class Word:
    """What an engine tells whichever allocator there is."""

    event: Voided | Reconciled


@dataclass(frozen=True)
class Fence:
    """An allocator's claim on an engine."""

    node: NodeId
    epoch: Epoch
    above: OfferId
    attempt: int


@dataclass(frozen=True)
class Joined:
    """The engine's answer to one attempt at fencing it; None says that it obeys a later epoch."""

    node: NodeId
    epoch: Epoch
    attempt: int
    running: tuple[Grant, ...] | None


Message = Report | Reply | Work | Outcome | Question | Ending | Word | Fence | Joined
REPEATABLE = Work | Question | Ending | Word | Fence


@dataclass
class Line:
    """What waits at the allocator to be told to one desk."""

    offers: list[Ticket] = field(default_factory=list)
    withdrawn: list[OfferId] = field(default_factory=list)
    asked_back: list[tuple[OfferId, Micros]] = field(default_factory=list)
    gangs_refused: list[tuple[GangId, str]] = field(default_factory=list)

    def tell(self, effect: Effect) -> None:
        match effect:
            case SendOffer(_, ticket):
                self.offers.append(ticket)
            case Withdraw(offer):
                self.offers = [t for t in self.offers if t.offer_id != offer.offer_id]
                self.withdrawn.append(offer.offer_id)
            case AskBack(offer, within):
                self.asked_back.append((offer.offer_id, within))
            case GangRefused(gang, _, why):
                self.gangs_refused.append((gang, why))
            case _:
                raise ValueError(effect)


@dataclass
class World:
    """Everything there is."""

    now: Instant = Instant(0)
    epochs: int = 0
    allocator: Allocator | None = None
    lines: dict[DeskId, Line] = field(default_factory=dict)
    attempts: dict[NodeId, int] = field(default_factory=dict)
    """Engines that the allocator is fencing or has joined, by the attempt that counts."""
    joined: set[NodeId] = field(default_factory=set)
    draining: set[NodeId] = field(default_factory=set)
    complete: list[tuple[Grant, ...]] = field(default_factory=list)
    """Gangs that a desk had in hand as a whole."""
    preempted: int = 0
    guards: dict[NodeId, Guard] = field(default_factory=dict)
    desks: dict[DeskId, Desk] = field(default_factory=dict)
    post: list[Message] = field(default_factory=list)
    dead_guards: list[Guard] = field(default_factory=list)
    born: int = 0

    # What happens to the world

    def allocator_starts(self) -> None:
        """Let a new allocator, of the next epoch, begin with nothing."""
        self.epochs += 1
        self.allocator = Allocator(epoch=Epoch("world", self.epochs), terms=TERMS)
        self.lines, self.attempts, self.joined, self.draining = {}, {}, set(), set()

    def allocator_dies(self) -> None:
        self.allocator = None

    def node_starts(self, capacity: Resources) -> NodeId:
        self.born += 1
        node = NodeId(f"n{self.born}")
        self.guards[node] = Guard(capacity)
        return node

    def node_dies(self, node: NodeId) -> None:
        """Let an engine die with all that runs there; callers and allocator notice by and by."""
        guard = self.guards.pop(node)
        self.post += [Outcome(grant, node_gone=True) for grant in guard.running()]
        self.dead_guards.append(guard)

    def node_asks_to_join(self, node: NodeId) -> None:
        """Have the allocator fence an engine that it does not know."""
        if self.allocator is not None and node not in self.attempts:
            self.born += 1
            self.attempts[node] = self.born
            above = self.allocator.last_issued()
            self.post.append(Fence(node, self.allocator.epoch, above, self.born))

    def node_out_of_sight(self, node: NodeId) -> None:
        """Let the allocator believe an engine dead. It need not be."""
        self.attempts.pop(node, None)
        if node in self.joined:
            self.joined.remove(node)
            self.draining.discard(node)
            self.tell(NodeLost(node))

    def node_drains(self, node: NodeId, within: Micros, *, preempt: bool) -> None:
        """Have a node emptied, unless guarantees need it."""
        effects = self.tell(NodeDraining(node, within, preempt))
        if not any(isinstance(effect, Refused) for effect in effects):
            self.draining.add(node)

    def node_reopens(self, node: NodeId) -> None:
        self.draining.remove(node)
        self.tell(NodeReopened(node))

    def desk_starts(self, agent: str, bundle: Resources) -> None:
        self.born += 1
        desk = DeskId(f"{agent}-{self.born}")
        self.desks[desk] = Desk(desk, AgentId(agent), bundle, DESK_TERMS)

    def desk_out_of_sight(self, desk: DeskId) -> None:
        """Let the allocator believe a desk dead. It need not be."""
        if self.lines.pop(desk, None) is not None:
            self.tell(DeskLost(desk))

    def phase_arrives(self, desk: Desk, used: Resources) -> None:
        desk.arrived(self.now)
        grant = desk.take(self.now, used)
        if grant is None:
            desk.waiting += 1
        else:
            self.post.append(Work(grant))

    def phase_ends(self, guard: Guard, grant: Grant) -> None:
        guard.finish(grant)
        self.post.append(Outcome(grant))

    def gang_is_wanted(self, desk: Desk, members: tuple[Member, ...]) -> None:
        self.born += 1
        desk.ask_gang(self.now, GangId(f"g{self.born}"), members)

    def gang_is_given_up(self, desk: Desk, gang: GangId) -> None:
        desk.give_up_gang(self.now, gang)

    def desk_obeys(self, desk: Desk) -> None:
        """Let a desk end what it was asked to give back."""
        for guard, grant in list(self.running()):
            if grant.desk == desk.desk and grant.offer_id in desk.asked_back:
                self.phase_ends(guard, grant)

    def desk_reports(self, desk: Desk) -> None:
        self.post.append(Report(desk.report(self.now), self.now))

    def engine_reports(self, node: NodeId) -> None:
        guard = self.guards[node]
        running = frozenset(grant.offer_id for grant in guard.running())
        self.post.append(Word(Reconciled(node, running, guard.take_finished())))

    def time_passes(self, wait: int) -> None:
        self.now = Instant(self.now + wait)
        self.tell(Ticked())

    # How messages arrive

    def deliver(self, message: Message) -> None:
        match message:
            case Report():
                self._report_arrives(message)
            case Reply(desk, sent, reply):
                if (hears := self.desks.get(desk)) is not None:
                    hears.heard(sent, self.now, reply, waited=False)
                    self._serve(hears)
            case Work(grant):
                self._work_arrives(grant)
            case Outcome():
                self._outcome_arrives(message)
            case Question() | Ending() | Fence():
                if (guard := self.guards.get(message.node)) is not None:
                    self._engine_hears(guard, message)
            case Word(event):
                self.tell(event)
            case Joined(node, epoch, attempt, running):
                self._joined(node, epoch, attempt, running)

    def lose(self, message: Message) -> None:
        """Let a message never arrive; whoever called notices that there is no answer."""
        match message:
            case Work(grant) | Outcome(grant):
                if (desk := self.desks.get(grant.desk)) is not None:
                    desk.uncertain(grant)
            case Report(report):
                if (desk := self.desks.get(report.desk)) is not None:
                    desk.fell_silent()
            case Reply(name):
                if (desk := self.desks.get(name)) is not None:
                    desk.fell_silent()
            case Fence(node, _, _, attempt) | Joined(node, _, attempt, _):
                if self.attempts.get(node) == attempt and node not in self.joined:
                    del self.attempts[node]
            case Question() | Ending() | Word():
                pass

    def _report_arrives(self, message: Report) -> None:
        report = message.report
        if self.allocator is None:
            self.lose(message)
            return
        if report.desk not in self.lines:
            self.lines[report.desk] = Line()
            self.tell(
                DeskJoined(report.desk, report.agent, report.bundle, report.least, report.where)
            )
        for event in report.told():
            self.tell(event)
        line = self.lines[report.desk]
        reply = DeskReply(
            epoch=self.allocator.epoch,
            offers=tuple(line.offers),
            withdrawn=tuple(line.withdrawn),
            asked_back=tuple(line.asked_back),
            gangs_refused=tuple(line.gangs_refused),
        )
        self.lines[report.desk] = Line()
        self.post.append(Reply(report.desk, message.sent, reply))

    def _work_arrives(self, grant: Grant) -> None:
        guard = self.guards.get(grant.node)
        if guard is None:
            self.post.append(Outcome(grant, node_gone=True))
        elif (refusal := guard.admit(grant)) is not None:
            self.post.append(Outcome(grant, refusal))

    def _engine_hears(self, guard: Guard, message: Question | Ending | Fence) -> None:
        match message:
            case Question(_, offer_id):
                self.post.append(Word(Voided(offer_id, guard.void(offer_id))))
            case Fence(node, epoch, above, attempt):
                self.post.append(Joined(node, epoch, attempt, guard.fence(epoch, above)))
            case Ending(_, offer_id):
                for grant in guard.running():
                    if grant.offer_id == offer_id:
                        self.preempted += 1
                        guard.finish(grant)
                        self.post.append(Outcome(grant, Refusal.PREEMPTED))

    def _outcome_arrives(self, outcome: Outcome) -> None:
        grant = outcome.grant
        desk = self.desks.get(grant.desk)
        if desk is None:
            return
        if outcome.node_gone:
            desk.node_lost(grant.node)
        elif outcome.refusal is None:
            desk.finished(self.now, grant)
        else:
            if outcome.refusal is Refusal.STALE_EPOCH:
                desk.epoch_fenced(grant.node, grant.epoch)
            desk.uncertain(grant)
        self._serve(desk)

    def _joined(
        self, node: NodeId, epoch: Epoch, attempt: int, running: tuple[Grant, ...] | None
    ) -> None:
        allocator = self.allocator
        if allocator is None or allocator.epoch != epoch or self.attempts.get(node) != attempt:
            return
        if running is None or node in self.joined or node not in self.guards:
            return
        self.joined.add(node)
        self.tell(NodeJoined(node, self.guards[node].capacity, {}, running))

    def _serve(self, desk: Desk) -> None:
        while desk.waiting and (grant := desk.take(self.now, desk.bundle)) is not None:
            desk.waiting -= 1
            self.post.append(Work(grant))
        for gang in desk.gangs.ready():
            if grants := desk.take_gang(self.now, gang):
                self.complete.append(grants)
                self.post += [Work(grant) for grant in grants]
        for gang in tuple(desk.gangs.refused):
            desk.give_up_gang(self.now, gang)

    # How the allocator's wishes are carried out

    def tell(self, event: Event) -> list[Effect]:
        if self.allocator is None:
            return []
        effects = self.allocator.handle(self.now, event)
        self.allocator.ledger.check()
        for effect in effects:
            self._carry_out(effect)
        return effects

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Void(offer):
                self.post.append(Question(offer.node, offer.offer_id))
            case Preempt(offer):
                self.post.append(Ending(offer.node, offer.offer_id))
            case SendOffer(offer) | Withdraw(offer) | AskBack(offer):
                if (line := self.lines.get(offer.desk)) is not None:
                    line.tell(effect)
            case GangRefused(_, desk):
                if (line := self.lines.get(desk)) is not None:
                    line.tell(effect)
            case _:
                pass

    # How it all comes to rest

    def drain(self, steps_max: int = 5_000) -> None:
        """Deliver all messages, oldest first, until no more come of them."""
        for _ in range(steps_max):
            if not self.post:
                return
            self.deliver(self.post.pop(0))
        raise AssertionError("allocator, desks and engines never stop talking")

    def come_to_rest(self) -> None:
        """End all work, lose nothing more, and let time and the engines' reports do the rest."""
        if self.allocator is None:
            self.allocator_starts()
        for desk in self.desks.values():
            desk.waiting = 0
            for gang in tuple(desk.gangs.wanted):
                self.gang_is_given_up(desk, gang)
        for _ in range(6):
            for node in tuple(self.draining):
                self.node_reopens(node)
            for desk_id in self.lines.keys() - self.desks.keys():
                self.desk_out_of_sight(desk_id)
            for node in (self.attempts.keys() | self.joined) - self.guards.keys():
                self.node_out_of_sight(node)
            for node, guard in self.guards.items():
                self.node_asks_to_join(node)
                for grant in guard.running():
                    self.phase_ends(guard, grant)
                self.engine_reports(node)
            self.drain()
            self.time_passes(LONG_US)
            for desk in self.desks.values():
                self.desk_reports(desk)
            self.drain()

    def broken_reservations(self) -> int:
        guards = [*self.guards.values(), *self.dead_guards]
        return sum(guard.journal.broken_reservations for guard in guards)

    def running(self) -> Iterator[tuple[Guard, Grant]]:
        for guard in self.guards.values():
            for grant in guard.running():
                yield guard, grant
