"""A simulated engine: the guard's rules, and how long phases take."""

from typing import Any

import pytest

from coordsvc.core.filters import ANY_NODE
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, Micros, NodeId, OfferId
from coordsvc.simulation.book import Book
from coordsvc.simulation.clock import JumpClock
from coordsvc.simulation.engines import Outcome, SimEngine
from coordsvc.simulation.loop import Loop
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.workload import NodePlan

AGENT = AgentId("a")
BUNDLE = Resources(gpu_milli=250)
EPOCH = Epoch("run", 1)
END = Instant(1_000_000)


class Bench:
    """One engine, and what it answers when."""

    def __init__(self, contention: float = 0.0, **plan: Any) -> None:
        self.loop = Loop(JumpClock())
        nodes = NodePlan(**plan)
        self.book = Book([({}, nodes.slots)], {AGENT: ANY_NODE})
        settings = SimSettings(bundle=BUNDLE, contention=contention)
        self.engine = SimEngine(NodeId("n"), nodes, settings, self.book)
        self.book.node_up(Instant(0), NodeId("n"), self.engine.plan.slots, {})
        self.engine.fence(EPOCH, OfferId(0))
        self.answers: list[tuple[Instant, Outcome]] = []

    def work(self, number: int, cost: int = 1_000, use: int = 1) -> Grant:
        grant = Grant(
            epoch=EPOCH,
            offer_id=OfferId(number),
            use=use,
            node=NodeId("n"),
            agent=AGENT,
            desk=DeskId("d"),
            bundle=BUNDLE,
        )
        self.engine.work(self.loop, grant, Micros(cost), self.answered)
        return grant

    def answered(self, outcome: Outcome) -> None:
        self.answers.append((self.loop.clock.now(), outcome))


def test_a_phase_takes_its_cost_and_frees_its_slot() -> None:
    bench = Bench(slots=1)
    bench.work(1)
    bench.loop.run(END)
    assert bench.answers == [(1_000, Outcome(done_us=Micros(1_000), compute_us=Micros(1_000)))]
    assert bench.engine.guard.running() == ()
    assert bench.book.snapshot(END)[0].computing == 1_000


def test_a_slower_node_takes_longer_rounded_up() -> None:
    bench = Bench(speed_milli=300)
    bench.work(1)
    bench.loop.run(END)
    assert bench.answers[0] == (3_334, Outcome(done_us=Micros(1_000), compute_us=Micros(3_334)))


def test_phases_beside_others_take_longer_where_they_disturb_each_other() -> None:
    bench = Bench(contention=0.5)
    for number in (1, 2, 3):
        bench.work(number)
    bench.loop.run(END)
    assert [at for at, _ in bench.answers] == [1_000, 1_500, 2_000]


def test_what_has_no_room_is_refused_at_once_and_counted() -> None:
    bench = Bench(slots=1)
    bench.work(1)
    bench.work(2)
    assert bench.answers == [(0, Outcome(refusal=Refusal.NO_ROOM))]
    assert bench.engine.guard.journal.broken_reservations == 1


def test_a_copy_of_work_changes_nothing() -> None:
    bench = Bench()
    grant = bench.work(1)
    bench.engine.repeated(grant)
    bench.loop.run(END)
    bench.engine.repeated(grant)
    assert len(bench.answers) == 1
    assert bench.engine.guard.journal.refused[Refusal.REPEATED] == 2


def test_a_copy_that_would_start_is_a_bug() -> None:
    bench, other = Bench(), Bench()
    with pytest.raises(AssertionError, match="twice"):
        other.engine.repeated(bench.work(1))


def test_what_is_voided_in_time_is_never_started() -> None:
    bench = Bench()
    assert not bench.engine.void(OfferId(1))
    bench.work(1)
    assert bench.answers == [(0, Outcome(refusal=Refusal.VOIDED))]
    bench.work(2)
    assert bench.engine.void(OfferId(2))


def test_a_preempted_phase_keeps_what_was_computed() -> None:
    bench = Bench(speed_milli=500)
    bench.work(1)
    bench.loop.run(Instant(500))
    bench.engine.preempt(bench.loop, OfferId(1))
    bench.engine.preempt(bench.loop, OfferId(7))
    bench.loop.run(END)
    done = Outcome(done_us=Micros(250), compute_us=Micros(500), ended=True)
    assert bench.answers == [(500, done)]


def test_the_engines_word_is_what_runs_and_what_ended() -> None:
    bench = Bench()
    bench.work(1, cost=10)
    bench.work(2, cost=10_000)
    bench.loop.run(Instant(100))
    assert bench.engine.word().running == {2}
    assert bench.engine.word().finished == (1,)


def test_a_dead_engine_loses_all_that_ran_and_answers_nobody() -> None:
    bench = Bench()
    grants = [bench.work(1), bench.work(2)]
    assert [running.grant for running in bench.engine.die(Instant(0))] == grants
    bench.loop.run(END)
    assert bench.answers == []
    assert not bench.engine.alive
    assert bench.book.snapshot(END)[0].total == 0
