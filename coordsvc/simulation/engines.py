"""A simulated engine: the production guard in front of slots that take their time."""

from collections.abc import Callable
from dataclasses import dataclass

from coordsvc.core.guard import Guard, Refusal
from coordsvc.core.messages import Reconciled
from coordsvc.core.offers import Grant
from coordsvc.core.units import Epoch, Instant, Micros, NodeId, OfferId
from coordsvc.simulation.book import Book
from coordsvc.simulation.loop import Loop
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.workload import NodePlan

MILLI = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a phase at an engine."""

    done_us: Micros = Micros(0)
    """Of its cost, what was computed."""
    compute_us: Micros = Micros(0)
    """Engine time that this took."""
    refusal: Refusal | None = None
    ended: bool = False
    """Whether it was ended before it was done, by the allocator."""
    node_gone: bool = False
    """Whether there is no such engine any more."""


Answer = Callable[[Outcome], None]
"""Takes the outcome, at the instant that the engine has it."""


@dataclass(slots=True)
class Running:
    """A phase that is computed."""

    grant: Grant
    cost_us: Micros
    began: Instant
    answer: Answer
    takes_us: Micros


class SimEngine:
    """One engine replica."""

    def __init__(self, node: NodeId, plan: NodePlan, settings: SimSettings, book: Book) -> None:
        self.node = node
        self.plan = plan
        self.capacity = settings.bundle.times(plan.slots)
        self.guard = Guard(self.capacity)
        self.alive = True
        self.calls = 0
        """Of the guard."""
        self._contention = settings.contention
        self._width = settings.width
        self._book = book
        self._running: dict[OfferId, Running] = {}

    def work(self, loop: Loop, grant: Grant, cost_us: Micros, answer: Answer) -> None:
        """Compute a phase under its grant, or say why not."""
        self.calls += 1
        refusal = self.guard.admit(grant)
        if refusal is not None:
            answer(Outcome(refusal=refusal))
            return
        now = loop.clock.now()
        alone = -(-cost_us * MILLI // self.plan.speed_milli)
        takes = Micros(round(alone * (1 + self._contention * len(self._running))))
        running = Running(grant, cost_us, now, answer, takes)
        self._running[grant.offer_id] = running
        self._book.computing(now, self.node, self._width(grant.agent))
        loop.after(takes, self._done, loop, running)

    def repeated(self, grant: Grant) -> None:
        """Refuse a copy of work that has come already; nobody waits for the answer."""
        self.calls += 1
        refusal = self.guard.admit(grant)
        assert refusal is not None, "an engine starts nothing twice"

    def void(self, offer_id: OfferId) -> bool:
        """Never start this offer; return whether it runs."""
        self.calls += 1
        return self.guard.void(offer_id)

    def fence(self, epoch: Epoch, above: OfferId) -> tuple[Grant, ...] | None:
        """Obey this epoch from now on, and return all that runs."""
        self.calls += 1
        return self.guard.fence(epoch, above)

    def word(self) -> Reconciled:
        """Return what runs, and what ended since this was last asked."""
        self.calls += 1
        running = frozenset(grant.offer_id for grant in self.guard.running())
        return Reconciled(self.node, running, self.guard.take_finished())

    def preempt(self, loop: Loop, offer_id: OfferId) -> None:
        """End what runs under a grant, now; what was computed is not lost."""
        if (running := self._running.get(offer_id)) is not None:
            self._end(loop, running, ended=True)

    def die(self, now: Instant) -> tuple[Running, ...]:
        """Lose all that runs; return it."""
        self.alive = False
        self._book.node_down(now, self.node)
        lost = tuple(self._running.values())
        self._running.clear()
        return lost

    def _done(self, loop: Loop, running: Running) -> None:
        if self._running.get(running.grant.offer_id) is running:
            self._end(loop, running, ended=False)

    def _end(self, loop: Loop, running: Running, *, ended: bool) -> None:
        now = loop.clock.now()
        del self._running[running.grant.offer_id]
        self.calls += 1
        self.guard.finish(running.grant)
        self._book.computing(now, self.node, -self._width(running.grant.agent))
        spent = Micros(now - running.began)
        done = running.cost_us
        if ended:
            done = Micros(running.cost_us * spent // max(1, running.takes_us))
        running.answer(Outcome(done_us=done, compute_us=spent, ended=ended))
