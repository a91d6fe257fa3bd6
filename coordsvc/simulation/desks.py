"""A replica's desk with its line to the allocator, as `coordsvc.serving.desk_link` has it.

One call listens all the time, answered when there is something to tell; another leaves whenever
the desk has news that are due.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from coordsvc.core.desk import Desk
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.offers import Grant
from coordsvc.core.policies import Key
from coordsvc.core.units import MILLISECOND, SECOND, Epoch, Instant, Micros, TurnId, after
from coordsvc.core.waits import Wait
from coordsvc.simulation.book import Book
from coordsvc.simulation.turns import LiveTurn
from coordsvc.simulation.wire import Wire

LISTEN_US = Micros(2 * SECOND)
"""How long the allocator keeps a listening call before it answers with nothing."""
RETRY_US = Micros(100 * MILLISECOND)
"""How long to wait before calling a silent allocator again."""


class Exchanges(Protocol):
    """Whoever answers desks."""

    def exchange(
        self, desk: "SimDesk", report: DeskReport, sent: Instant, *, listens: bool
    ) -> None:
        """Hear a desk, and answer: at once, or if it `listens` when there is something to tell."""
        ...


class SimDesk:
    """The desk of one agent replica."""

    def __init__(
        self,
        desk: Desk,
        wire: Wire,
        book: Book,
        urgency: Callable[[Wait], Key],
        begin: Callable[["SimDesk", LiveTurn, Grant], None],
    ) -> None:
        """`begin` is told of each phase that has its grant."""
        self.desk = desk
        self.calls = 0
        """Of the desk."""
        self._wire = wire
        self._loop = wire.loop
        self._book = book
        self._urgency = urgency
        self._begin = begin
        self._allocator: Exchanges | None = None
        self._waiters: dict[TurnId, tuple[LiveTurn, Wait]] = {}
        self._rings_at: Instant | None = None
        self._sending = False

    def start(self, allocator: Exchanges) -> None:
        """Begin to listen to the allocator."""
        self._allocator = allocator
        self._call(listens=True)

    @property
    def waiting(self) -> int:
        """How many phases wait here."""
        return len(self._waiters)

    def ask(self, turn: LiveTurn, wait: Wait) -> None:
        """Begin the turn's phase as soon as there is a grant for it."""
        now = self._loop.clock.now()
        desk = self.desk
        self.calls += 2
        desk.arrived(now)
        if not self._waiters:
            grant = desk.take(now, desk.bundle, wait.near, turn=wait.turn)
            if grant is not None:
                self._begin(self, turn, grant)
                self.arm()
                return
        self._waiters[wait.turn] = (turn, wait)
        desk.waiting = len(self._waiters)
        self._book.waits(now, desk.agent, 1)
        self.arm()

    def serve(self) -> None:
        """Give what is in hand to those whom it is meant for, then to the most urgent."""
        self._hand_out()
        self.arm()

    def arm(self) -> None:
        """See to it that the next report leaves when it is due."""
        if self._sending:
            return
        now = self._loop.clock.now()
        due = self.desk.report_due(now)
        if due is None or (self._rings_at is not None and self._rings_at <= due):
            return
        self._rings_at = max(due, now)
        self._loop.at(self._rings_at, self._ring, self._rings_at)

    def answered(self, sent: Instant, reply: DeskReply, *, listens: bool) -> None:
        """Hear what the allocator says to the call that left at `sent`."""
        self.calls += 1
        self.desk.heard(sent, self._loop.clock.now(), reply, waited=listens)
        self._hand_out()
        if listens:
            self._call(listens=True)  # what was just begun travels with it
        else:
            self._sending = False
        self.arm()

    def unanswered(self, sent: Instant, *, listens: bool) -> None:
        """Have the desk notice in its own time that nobody will answer this call."""
        patience = self.desk.terms.silent_after_us + (LISTEN_US if listens else 0)
        fell_silent = partial(self._fell_silent, self.desk.epoch, listens=listens)
        self._loop.at(after(sent, Micros(patience)), fell_silent)

    def _hand_out(self) -> None:
        desk, waiters = self.desk, self._waiters
        while waiters and desk.held:
            now = self._loop.clock.now()
            turn = self._next()
            live, wait = waiters[turn]
            self.calls += 1
            grant = desk.take(now, desk.bundle, wait.near, turn=turn)
            if grant is None:
                break
            del waiters[turn]
            desk.waiting = len(waiters)
            self._book.waits(now, desk.agent, -1)
            live.waited_us += now - wait.asked
            self._begin(self, live, grant)

    def _fell_silent(self, epoch: Epoch | None, *, listens: bool) -> None:
        if self.desk.epoch == epoch:  # else it was asked of one that is no more
            self.calls += 1
            self.desk.fell_silent()
            self.serve()
        self._loop.after(RETRY_US, partial(self._call, listens=listens))

    def _ring(self, rang_for: Instant) -> None:
        if self._rings_at == rang_for:
            self._rings_at = None
            told_already = self.desk.report_due(self._loop.clock.now()) is None
            if not self._sending and not told_already:
                self._sending = True
                self._call(listens=False)

    def _call(self, *, listens: bool) -> None:
        assert self._allocator is not None, "a desk is started before it speaks"
        now = self._loop.clock.now()
        self.desk.waits = self._told()
        self.calls += 1
        report = self.desk.report(now)
        self._wire.send(
            partial(self._arrives, listens=listens),
            report,
            now,
            lost=lambda: self.unanswered(now, listens=listens),
        )

    def _arrives(self, report: DeskReport, sent: Instant, *, listens: bool) -> None:
        assert self._allocator is not None
        self._allocator.exchange(self, report, sent, listens=listens)

    def _told(self) -> tuple[Wait, ...]:
        waits = [wait for _, wait in self._waiters.values()]
        if len(waits) > self.desk.terms.waits_told_max:
            waits.sort(key=self._urgency)
        return tuple(waits)

    def _next(self) -> TurnId:
        waiters = self._waiters
        for turn in self.desk.meant_in_hand():
            if turn in waiters:
                return turn
        if len(waiters) == 1:
            return next(iter(waiters))
        return min((wait for _, wait in waiters.values()), key=self._urgency).turn
