"""The allocator's shell: who joins, what is told, and how it dies."""

from coordsvc.core.desk import Desk
from coordsvc.core.filters import ANY_NODE
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, DeskId, Instant, Micros, NodeId, TurnId
from coordsvc.core.waits import Wait
from coordsvc.simulation.allocation import SimAllocator
from coordsvc.simulation.book import Book
from coordsvc.simulation.chance import Purpose, streams
from coordsvc.simulation.clock import JumpClock
from coordsvc.simulation.desks import SimDesk
from coordsvc.simulation.engines import Outcome, SimEngine
from coordsvc.simulation.loop import Loop
from coordsvc.simulation.settings import ON_DEMAND, SimSettings
from coordsvc.simulation.turns import LiveTurn, rules_of
from coordsvc.simulation.wire import Wire
from coordsvc.simulation.workload import NodePlan, Turn

AGENT = AgentId("planner")
BUNDLE = Resources(gpu_milli=250)
RULES = rules_of(checked=False, revisions_max=0)
TURN = Turn(
    turn=TurnId("t"),
    arrives=Instant(0),
    costs_us=(Micros(1), Micros(1)),
    deadline_us=Micros(SECOND),
)


class Pool:
    """One engine of two slots, one desk, and whatever allocator there is."""

    def __init__(self) -> None:
        self.loop = Loop(JumpClock())
        settings = SimSettings(delay_us=Micros(100), jitter_us=Micros(0), bundle=BUNDLE)
        chance = streams(1)
        wire = Wire(self.loop, settings, chance[Purpose.DELAYS], chance[Purpose.MESSAGE_FAULTS])
        self.book = Book([({}, 2)], {AGENT: ANY_NODE})
        self.allocator = SimAllocator(settings, wire, self.book)
        self.engine = SimEngine(NodeId("n"), NodePlan(slots=2), settings, self.book)
        self.book.node_up(Instant(0), NodeId("n"), 2, {})
        desk = Desk(DeskId("d"), AGENT, BUNDLE, ON_DEMAND)
        self.desk = SimDesk(desk, wire, self.book, self.allocator.urgency, self.began)
        self.grants: list[Grant] = []
        self.outcomes: list[Outcome] = []

    def began(self, desk: SimDesk, turn: LiveTurn, grant: Grant) -> None:
        self.grants.append(grant)
        self.engine.work(self.loop, grant, Micros(20 * SECOND), self.outcomes.append)

    def starts(self) -> "Pool":
        self.allocator.start()
        self.allocator.engine_up(self.engine)
        self.desk.start(self.allocator)
        self.wait(1_000)
        return self

    def ask(self) -> None:
        live = LiveTurn(TURN, self.loop.clock.now(), RULES, None)
        live.start()
        self.desk.ask(live, live.wait(self.loop.clock.now(), None))
        self.wait(2_000)

    def wait(self, micros: int) -> None:
        self.loop.run(Instant(self.loop.clock.now() + micros))

    @property
    def held(self) -> int:
        return self.book.held_by[AGENT]


def test_engines_and_desks_are_in_the_pool_after_a_round_trip() -> None:
    core = Pool().starts().allocator.core
    assert (set(core.ledger.capacity), set(core.desks)) == ({"n"}, {"d"})


def test_a_phase_that_waits_is_offered_something_at_once() -> None:
    pool = Pool().starts()
    pool.ask()
    assert len(pool.grants) == 1
    assert pool.held == 1
    assert set(pool.allocator.core.ledger.offers) == {pool.grants[0].offer_id}


def test_a_dead_engine_is_struck_out_with_what_was_held_there() -> None:
    pool = Pool().starts()
    pool.ask()
    pool.engine.die(pool.loop.clock.now())
    pool.allocator.engine_down(NodeId("n"))
    assert pool.allocator.core.ledger.capacity == {}
    assert pool.held == 0


def test_a_new_allocator_learns_from_the_engine_what_runs() -> None:
    pool = Pool().starts()
    pool.ask()
    pool.allocator.die()
    assert pool.allocator.core is None
    pool.wait(SECOND)
    pool.allocator.start()
    assert pool.held == 0
    pool.wait(1_000)
    assert set(pool.allocator.core.ledger.offers) == {pool.grants[0].offer_id}
    assert pool.held == 1
    assert pool.allocator.epochs == 2


def test_a_desk_finds_the_next_allocator_by_itself() -> None:
    pool = Pool().starts()
    pool.allocator.die()
    pool.ask()
    assert pool.grants == []
    pool.allocator.start()
    pool.wait(5 * SECOND)
    assert [grant.epoch.n for grant in pool.grants] == [2]


def test_a_desk_that_is_not_heard_for_long_is_gone() -> None:
    pool = Pool()
    pool.allocator.start()
    report = pool.desk.desk.report(Instant(0))
    pool.allocator.exchange(pool.desk, report, Instant(0), listens=False)
    assert set(pool.allocator.core.desks) == {"d"}
    pool.wait(9 * SECOND)
    assert set(pool.allocator.core.desks) == set()


def test_while_there_is_no_policy_the_first_to_ask_is_the_most_urgent() -> None:
    pool = Pool()
    first, second = (
        Wait(turn=TurnId(name), asked=Instant(at), arrived=Instant(0), deadline=Instant(9))
        for name, at in (("a", 1), ("b", 2))
    )
    assert pool.allocator.urgency(first) < pool.allocator.urgency(second)
    pool.allocator.start()
    assert pool.allocator.urgency(first) < pool.allocator.urgency(second)


def test_events_are_counted() -> None:
    pool = Pool().starts()
    before = pool.allocator.events
    pool.wait(SECOND)
    assert pool.allocator.events > before
    assert pool.allocator.refused == 0
