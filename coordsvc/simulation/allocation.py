"""The simulated allocator's shell, as `coordsvc.serving.allocator_actor` has it, and its deaths."""

from dataclasses import dataclass, field

from coordsvc.core.allocator import Allocator
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.messages import (
    AskBack,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Freed,
    NodeJoined,
    NodeLost,
    Preempt,
    Reconciled,
    Refused,
    SendOffer,
    Ticked,
    Void,
    Voided,
    Withdraw,
)
from coordsvc.core.offers import Grant, Offer, OfferState, Ticket
from coordsvc.core.policies import Key
from coordsvc.core.units import SECOND, DeskId, Epoch, Instant, Micros, NodeId, OfferId, since
from coordsvc.core.waits import Wait
from coordsvc.simulation.book import Book
from coordsvc.simulation.desks import LISTEN_US, SimDesk
from coordsvc.simulation.engines import SimEngine
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.wire import Wire

TICK_US = Micros(SECOND // 2)
WATCH_US = SECOND
"""The rhythm of an engine's word."""
DESK_SILENT_US = Micros(8 * SECOND)
"""A desk listens every 2 s; one unheard for so long is gone."""


@dataclass(slots=True)
class Line:
    """What is to be told to one desk."""

    heard: Instant
    offers: list[Ticket] = field(default_factory=list)
    withdrawn: list[OfferId] = field(default_factory=list)
    asked_back: list[tuple[OfferId, Micros]] = field(default_factory=list)
    listener: tuple[SimDesk, Instant] | None = None
    """Who listens, and when it called."""

    def has_news(self) -> bool:
        """Tell whether there is something to tell."""
        return bool(self.offers or self.withdrawn or self.asked_back)


class SimAllocator:
    """The allocator of the moment, if there is one."""

    def __init__(self, settings: SimSettings, wire: Wire, book: Book) -> None:
        self.core: Allocator | None = None
        self.epochs = 0
        self.events = 0
        """That a core has handled."""
        self.refused = 0
        """Of them."""
        self.offers_made = 0
        self.offers_unused = 0
        """Of them, those that came to an end before work began under them."""
        self._settings = settings
        self._wire = wire
        self._loop = wire.loop
        self._book = book
        self._engines: dict[NodeId, SimEngine] = {}
        self._lines: dict[DeskId, Line] = {}
        self._news: dict[DeskId, None] = {}
        self._attempts: dict[NodeId, int] = {}
        self._attempted = 0
        self._joined: dict[NodeId, None] = {}

    def urgency(self, wait: Wait) -> Key:
        """Return the policy's place for a phase; by arrival while there is no policy."""
        return (wait.asked, wait.turn) if self.core is None else self.core.policy.urgency(wait)

    # Its life, and the engines'

    def start(self) -> None:
        """Let an allocator of the next epoch begin with nothing."""
        self.epochs += 1
        settings = self._settings
        self.core = Allocator(
            epoch=Epoch("sim", self.epochs),
            terms=settings.terms,
            make_policy=settings.make_policy,
        )
        self._lines, self._news, self._attempts, self._joined = {}, {}, {}, {}
        self._book.nobody_holds(self._loop.clock.now())
        for node in self._engines:
            self._fence(node)
        self._loop.after(TICK_US, self._tick, self.epochs)

    def die(self) -> None:
        """Let it be gone, with all that it knew; who listens will notice."""
        self.core = None
        for line in self._lines.values():
            if line.listener is not None:
                desk, sent = line.listener
                desk.unanswered(sent, listens=True)
        self._lines = {}

    def engine_up(self, engine: SimEngine) -> None:
        """Take note of an engine that wants to join."""
        self._engines[engine.node] = engine
        if self.core is not None:
            self._fence(engine.node)

    def engine_down(self, node: NodeId) -> None:
        """Take note, some time after, that an engine is dead."""
        del self._engines[node]
        self._attempts.pop(node, None)
        if node in self._joined:
            del self._joined[node]
            self._tell(NodeLost(node))
            self._flush()

    # What it is told

    def exchange(self, desk: SimDesk, report: DeskReport, sent: Instant, *, listens: bool) -> None:
        """Hear a desk, and answer: at once, or if it `listens` when there is something to tell."""
        if self.core is None:
            desk.unanswered(sent, listens=listens)
            return
        now = self._loop.clock.now()
        line = self._lines.get(report.desk)
        if line is None:
            line = self._lines[report.desk] = Line(now)
            self._tell(
                DeskJoined(report.desk, report.agent, report.bundle, report.least, report.where)
            )
        line.heard = now
        for event in report.told():
            self._tell(event)
        if listens and not line.has_news():
            line.listener = (desk, sent)
            self._loop.after(LISTEN_US, self._enough, report.desk, line.listener)
        else:
            self._answer(desk, line, sent, listens=listens)
        self._flush()

    def _word(self, event: Voided | Reconciled, epoch: int) -> None:
        if self.core is not None and epoch == self.epochs:
            self._tell(event)
            self._flush()

    def _tick(self, epoch: int) -> None:
        if self.core is None or epoch != self.epochs:
            return
        now = self._loop.clock.now()
        for desk, line in list(self._lines.items()):
            if since(line.heard, now) > DESK_SILENT_US:
                del self._lines[desk]
                self._tell(DeskLost(desk))
        self._tell(Ticked())
        self._flush()
        self._loop.after(TICK_US, self._tick, epoch)

    # What it has done

    def _tell(self, event: Event) -> None:
        assert self.core is not None
        self.events += 1
        for effect in self.core.handle(self._loop.clock.now(), event):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        kind = type(effect)
        if kind is SendOffer:
            assert isinstance(effect, SendOffer)
            self.offers_made += 1
            self._booked(effect.offer, 1)
            if (line := self._lines.get(effect.offer.desk)) is not None:
                line.offers.append(effect.ticket)
                self._news[effect.offer.desk] = None
        elif kind is Freed:
            assert isinstance(effect, Freed)
            self.offers_unused += effect.end is not OfferState.RELEASED
            self._booked(effect.offer, -1)
        elif kind is Refused:
            self.refused += 1
        else:
            self._carry_out_rare(effect)

    def _carry_out_rare(self, effect: Effect) -> None:
        match effect:
            case Withdraw(offer):
                if (line := self._lines.get(offer.desk)) is not None:
                    line.offers = [t for t in line.offers if t.offer_id != offer.offer_id]
                    line.withdrawn.append(offer.offer_id)
                    self._news[offer.desk] = None
            case AskBack(offer, within):
                if (line := self._lines.get(offer.desk)) is not None:
                    line.asked_back.append((offer.offer_id, within))
                    self._news[offer.desk] = None
            case Void(offer):
                self._wire.send(self._void, offer, self.epochs, lost=_nothing, again=self._void)
            case Preempt(offer):
                self._wire.send(self._preempt, offer)
            case _:
                pass

    def _booked(self, offer: Offer, change: int) -> None:
        now = self._loop.clock.now()
        slots = change * self._settings.width(offer.agent)
        self._book.committed(now, offer.node, slots)
        self._book.holds(now, offer.agent, slots)

    def _void(self, offer: Offer, epoch: int) -> None:
        engine = self._engines.get(offer.node)
        if engine is not None and engine.alive:
            word = Voided(offer.offer_id, engine.void(offer.offer_id))
            self._wire.send(self._word, word, epoch, lost=_nothing, again=self._word)

    def _preempt(self, offer: Offer) -> None:
        engine = self._engines.get(offer.node)
        if engine is not None and engine.alive:
            engine.preempt(self._loop, offer.offer_id)

    # How it answers desks

    def _flush(self) -> None:
        """Answer those who listen and have something to hear."""
        for name in self._news:
            line = self._lines.get(name)
            if line is not None and line.listener is not None and line.has_news():
                desk, sent = line.listener
                line.listener = None
                self._answer(desk, line, sent, listens=True)
        self._news.clear()

    def _enough(self, name: DeskId, listener: tuple[SimDesk, Instant]) -> None:
        line = self._lines.get(name)
        if line is not None and line.listener is listener:
            desk, sent = listener
            line.listener = None
            self._answer(desk, line, sent, listens=True)

    def _answer(self, desk: SimDesk, line: Line, sent: Instant, *, listens: bool) -> None:
        assert self.core is not None
        reply = DeskReply(
            epoch=self.core.epoch,
            offers=tuple(line.offers),
            withdrawn=tuple(line.withdrawn),
            asked_back=tuple(line.asked_back),
            pressed=self.core.pressed,
        )
        line.offers.clear()
        line.withdrawn.clear()
        line.asked_back.clear()

        def arrives() -> None:
            desk.answered(sent, reply, listens=listens)

        self._wire.send(arrives, lost=lambda: desk.unanswered(sent, listens=listens))

    # How engines join

    def _fence(self, node: NodeId) -> None:
        assert self.core is not None
        self._attempted += 1
        attempt = self._attempts[node] = self._attempted
        above = self.core.last_issued()
        again = self._fenced
        args = (node, self.core.epoch, above, attempt)
        self._wire.send(again, *args, lost=lambda: self._not_fenced(node, attempt), again=again)

    def _fenced(self, node: NodeId, epoch: Epoch, above: OfferId, attempt: int) -> None:
        engine = self._engines.get(node)
        if engine is None or not engine.alive:
            return
        running = engine.fence(epoch, above)
        if running is not None:
            self._wire.send(
                self._fence_done,
                engine,
                attempt,
                running,
                lost=lambda: self._not_fenced(node, attempt),
            )

    def _not_fenced(self, node: NodeId, attempt: int) -> None:
        """Try again when the answer has not come for a while."""
        self._loop.after(self._settings.faults.noticed_us, self._fence_again, node, attempt)

    def _fence_again(self, node: NodeId, attempt: int) -> None:
        waits = self._attempts.get(node) == attempt and node not in self._joined
        if self.core is not None and waits:
            self._fence(node)

    def _fence_done(self, engine: SimEngine, attempt: int, running: tuple[Grant, ...]) -> None:
        node, now = engine.node, self._loop.clock.now()
        if self.core is None or self._attempts.get(node) != attempt or node in self._joined:
            return
        self._joined[node] = None
        widths = [self._settings.width(grant.agent) for grant in running]
        self._book.committed_anew(now, node, sum(widths))
        for grant, width in zip(running, widths, strict=True):
            self._book.holds(now, grant.agent, width)
        self._tell(NodeJoined(node, engine.capacity, engine.plan.attributes, running))
        self._flush()
        self._loop.after(WATCH_US, self._watch, engine, attempt)

    def _watch(self, engine: SimEngine, attempt: int) -> None:
        if engine.alive and self.core is not None and self._attempts.get(engine.node) == attempt:
            word = engine.word()
            self._wire.send(self._word, word, self.epochs, lost=_nothing, again=self._word)
            self._loop.after(WATCH_US, self._watch, engine, attempt)


def _nothing() -> None:
    """Let it be lost: the next one says it again."""
