"""Everything that there is in one run, and how turns go through it.

Decisions are the production core's: allocator, desks, guards, dialogues. What stands between them
is a shell like `coordsvc.serving`, with messages that take their time. What may happen to one:

    from        to          message     lost  twice  what the loss means
    desk        allocator   exchange    yes   no     the desk notices the silence, and calls again
    allocator   desk        reply       yes   no     the same
    desk        engine      work        yes   yes    after a while the phase asks for another offer
    engine      desk        outcome     yes   no     the same; what was computed is computed again
    allocator   engine      question    yes   yes    it is asked again some day
    engine      allocator   word        yes   yes    the next one says it again
    allocator   engine      fence       yes   yes    it is fenced again after a while
    engine      allocator   joined      yes   no     the same

All messages may be late, and so overtake each other. Engines die and are replaced; the allocator
dies, and one of the next epoch takes over. Desks do not die.
"""

from collections.abc import Iterator

from coordsvc.core.desk import Desk
from coordsvc.core.filters import NodeFilter
from coordsvc.core.fleet import States
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.units import AgentId, DeskId, Instant, Micros, NodeId
from coordsvc.simulation.allocation import SimAllocator
from coordsvc.simulation.arrivals import window_of
from coordsvc.simulation.book import Book
from coordsvc.simulation.chance import Purpose, streams
from coordsvc.simulation.clock import JumpClock
from coordsvc.simulation.desks import SimDesk
from coordsvc.simulation.engines import Outcome, SimEngine
from coordsvc.simulation.faults import FaultPlan
from coordsvc.simulation.loop import Loop
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.turns import LiveTurn, Means, rules_of
from coordsvc.simulation.wire import Wire
from coordsvc.simulation.workload import NodePlan, Turn, Workload


class Attempt:
    """A phase on its way under one grant."""

    __slots__ = ("arrived", "desk", "grant", "over", "turn")

    def __init__(self, desk: SimDesk, turn: LiveTurn, grant: Grant) -> None:
        self.desk = desk
        self.turn = turn
        self.grant = grant
        self.arrived = False
        """Whether an engine has seen it."""
        self.over = False
        """Whether its caller has heard, or has given up waiting."""


class World:
    """One run."""

    def __init__(self, settings: SimSettings) -> None:
        self.settings = settings
        self.workload: Workload = settings.workload_drawn()
        self.clock = JumpClock()
        self.loop = Loop(self.clock)
        chance = streams(settings.seed)
        self.wire = Wire(
            self.loop, settings, chance[Purpose.DELAYS], chance[Purpose.MESSAGE_FAULTS]
        )
        where = {
            agent: NodeFilter.requiring(self.workload.requires.get(agent, {}))
            for agent in self.workload.agents
        }
        self.book = Book(
            [(plan.attributes, plan.slots) for plan in settings.pool], where, settings.widths
        )
        self.allocator = SimAllocator(settings, self.wire, self.book)
        self.faults = FaultPlan(settings)
        self.engines: dict[NodeId, SimEngine] = {}
        self.dead: list[SimEngine] = []
        self.desks: dict[AgentId, tuple[SimDesk, ...]] = {}
        self.turns: list[LiveTurn] = []
        """All that have arrived, in that order."""
        self.marks: list[tuple[States, dict[AgentId, int]]] = []
        """The book's sums when the measures began, and when they ended."""
        self.attempts = 0
        """Phases begun under a grant."""
        self.attempts_lost = 0
        """Of them, those that had to be begun again."""
        self.slow_us = settings.faults.slow_us
        """How long a slow replica holds a grant before its work begins; may change in a run."""
        self._slow: dict[DeskId, None] = {}
        self._turn_of_desk = dict.fromkeys(self.workload.agents, 0)
        self._means = None if settings.costs_known else Means()
        self._open = 0
        self._born = 0
        self._rules = rules_of(
            checked=settings.checked, revisions_max=settings.workload_terms.revisions_max
        )
        for agent, filter_ in where.items():
            self.desks[agent] = tuple(
                self._desk(agent, n, filter_) for n in range(settings.replicas)
            )

    # The run

    def run(self) -> None:
        """Let it all happen: what arrives, then until all turns have ended or time is up."""
        self.begin()
        until = Instant(self.settings.lasts_us + self.settings.drain_us)
        self.loop.run(until, done=self._over)

    def begin(self) -> None:
        """Set all up at instant 0; the caller lets time pass, with `loop.run`."""
        settings = self.settings
        self.allocator.start()
        for plan in settings.pool:
            for _ in range(plan.count):
                self._node_up(plan)
        for desks in self.desks.values():
            for desk in desks:
                desk.start(self.allocator)
        for at, which in self.faults.node_losses:
            self.loop.at(at, self.node_dies, which)
        for at in self.faults.allocator_losses:
            self.loop.at(at, self._allocator_dies)
        self.loop.at(Instant(settings.warm_us), self._mark)
        self.loop.at(Instant(settings.lasts_us), self._mark)
        self._arrivals(iter(self.workload.turns))
        for chain in self.workload.chains:
            self._thinks(chain)

    def rest(self, wait: Micros) -> None:
        """Let time go on after the run, with nothing more to arrive."""
        self.loop.run(Instant(self.clock.now() + wait))

    def unfinished(self) -> int:
        """Return how many turns have arrived and not ended."""
        return self._open

    def broken_reservations(self) -> int:
        """Return how many valid grants found no room, on all engines that ever were."""
        engines = (*self.engines.values(), *self.dead)
        return sum(engine.guard.journal.broken_reservations for engine in engines)

    def core_calls(self) -> dict[str, int]:
        """Return how often each part of the core was told something."""
        engines = (*self.engines.values(), *self.dead)
        desks = [desk for replicas in self.desks.values() for desk in replicas]
        return {
            "allocator": self.allocator.events,
            "desk": sum(desk.calls for desk in desks),
            "guard": sum(engine.calls for engine in engines),
            "dialogue": sum(turn.calls for turn in self.turns),
        }

    def _over(self) -> bool:
        return self._open == 0 and self.clock.now() >= self.settings.lasts_us and self._marked()

    def _marked(self) -> bool:
        return len(self.marks) > 1

    def _mark(self) -> None:
        self.marks.append(self.book.snapshot(self.clock.now()))

    # Turns

    def _arrivals(self, turns: Iterator[Turn]) -> None:
        if (turn := next(turns, None)) is not None:
            self.loop.at(turn.arrives, self._arrives, turn, turns)

    def _arrives(self, turn: Turn, turns: Iterator[Turn]) -> None:
        self._begins(turn, None)
        self._arrivals(turns)

    def _thinks(self, chain: Iterator[Turn]) -> None:
        if (turn := next(chain, None)) is not None:
            at = Instant(self.clock.now() + turn.arrives)
            if at < self.settings.lasts_us:
                self.loop.at(at, self._begins, turn, chain)

    def _begins(self, turn: Turn, chain: Iterator[Turn] | None) -> None:
        now, roles = self.clock.now(), turn.roles
        role = roles[window_of(now, self.settings.lasts_us, len(roles))] if roles else None
        live = LiveTurn(turn, now, self._rules, chain, role)
        self.turns.append(live)
        self._open += 1
        live.start()
        self._send_to_agent(live)

    def _send_to_agent(self, live: LiveTurn) -> None:
        """Send the phase at hand to the agent's replicas in turn, as Serve does on average."""
        replicas = self.desks[live.agent]
        n = self._turn_of_desk[live.agent]
        self._turn_of_desk[live.agent] = (n + 1) % len(replicas)
        self.wire.send(self._asks, replicas[n], live)

    def _asks(self, desk: SimDesk, live: LiveTurn) -> None:
        desk.ask(live, live.wait(self.clock.now(), self._means))

    def _begin(self, desk: SimDesk, live: LiveTurn, grant: Grant) -> None:
        attempt = Attempt(desk, live, grant)
        live.attempts += 1
        self.attempts += 1
        if grant.desk in self._slow:
            self.loop.after(self.slow_us, self._work_leaves, attempt)
        else:
            self._work_leaves(attempt)

    def _work_leaves(self, attempt: Attempt) -> None:
        self.wire.send(
            self._work_arrives,
            attempt,
            lost=lambda: self._nobody_answers(attempt),
            again=self._work_arrives,
        )

    def _work_arrives(self, attempt: Attempt) -> None:
        grant = attempt.grant
        engine = self.engines.get(grant.node)
        if attempt.arrived:
            if engine is not None:
                engine.repeated(grant)
            return
        attempt.arrived = True
        if engine is None:
            self._outcome_leaves(attempt, Outcome(node_gone=True))
            return
        live = attempt.turn
        refill = 0 if live.near in {None, grant.node} else self.settings.refill_us
        engine.work(
            self.loop,
            grant,
            Micros(live.cost_us + refill),
            lambda outcome: self._outcome_leaves(attempt, outcome),
        )

    def _outcome_leaves(self, attempt: Attempt, outcome: Outcome) -> None:
        self.wire.send(
            self._outcome_arrives, attempt, outcome, lost=lambda: self._nobody_answers(attempt)
        )

    def _outcome_arrives(self, attempt: Attempt, outcome: Outcome) -> None:
        if attempt.over:
            return
        attempt.over = True
        now, live, grant, desk = self.clock.now(), attempt.turn, attempt.grant, attempt.desk
        desk.calls += 1
        if outcome.node_gone:
            desk.desk.node_lost(grant.node)
            self._asks_again(attempt)
            return
        if outcome.refusal is not None:
            if outcome.refusal is Refusal.STALE_EPOCH:
                desk.desk.epoch_fenced(grant.node, grant.epoch)
            desk.desk.uncertain(grant)
            self._asks_again(attempt)
            return
        phase = live.phase.value if live.phase else ""
        late = now > live.deadline
        desk.desk.finished(now, grant, outcome.compute_us, late=late, phase=phase)
        live.attained_us += outcome.compute_us
        if self.settings.refill_us:
            live.near = grant.node
        desk.serve()
        if outcome.ended:
            live.cost_us = Micros(max(1, live.cost_us - outcome.done_us))
            self._asks_again(attempt)
        else:
            self._phase_done(live)

    def _phase_done(self, live: LiveTurn) -> None:
        if self._means is not None:
            self._means.add(live.agent, live.turn.costs_us[live.index])
        if not live.phase_done(self.clock.now()):
            self._send_to_agent(live)
            return
        self._open -= 1
        if live.chain is not None:
            self._thinks(live.chain)

    # What goes wrong

    def _nobody_answers(self, attempt: Attempt) -> None:
        """Have the caller give up waiting, after a while."""
        self.loop.after(self.settings.faults.noticed_us, self._given_up, attempt)

    def _given_up(self, attempt: Attempt) -> None:
        if not attempt.over:
            attempt.over = True
            attempt.desk.calls += 1
            attempt.desk.desk.uncertain(attempt.grant)
            self._asks_again(attempt)

    def _asks_again(self, attempt: Attempt) -> None:
        self.attempts_lost += 1
        self._asks(attempt.desk, attempt.turn)
        attempt.desk.serve()

    def _node_up(self, plan: NodePlan) -> None:
        self._born += 1
        node = NodeId(f"node{self._born}")
        settings = self.settings
        engine = SimEngine(node, plan, settings, self.book)
        self.engines[node] = engine
        self.book.node_up(self.clock.now(), node, plan.slots, plan.attributes)
        self.allocator.engine_up(engine)

    def node_dies(self, which: int) -> None:
        """Lose one engine with all that runs there; another takes its place some time after."""
        if not self.engines:
            return
        node = tuple(self.engines)[which % len(self.engines)]
        engine = self.engines.pop(node)
        self.dead.append(engine)
        terms = self.settings.faults
        for running in engine.die(self.clock.now()):
            self.loop.after(terms.noticed_us, running.answer, Outcome(node_gone=True))
        self.loop.after(terms.noticed_us, self.allocator.engine_down, node)
        self.loop.after(terms.node_away_us, self._node_up, engine.plan)

    def _allocator_dies(self) -> None:
        if self.allocator.core is not None:
            self.allocator.die()
            self.loop.after(self.settings.faults.allocator_away_us, self.allocator.start)

    def _desk(self, agent: AgentId, n: int, where: NodeFilter) -> SimDesk:
        name = DeskId(f"{agent}#{n}")
        if self.faults.slow():
            self._slow[name] = None
        bundle = self.settings.bundle.times(self.settings.width(agent))
        desk = Desk(name, agent, bundle, self.settings.desk_terms, where=where)
        return SimDesk(desk, self.wire, self.book, self.allocator.urgency, self._begin)
