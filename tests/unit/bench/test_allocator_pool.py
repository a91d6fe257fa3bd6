"""The pool that the allocator's benchmark runs: full to nine tenths, and never anything wrong."""

from collections import Counter

import pytest

from coordsvc.bench.allocator_pool import (
    EDGE_NODES,
    LOAD,
    WAITS_TOLD_MAX,
    Asker,
    Pool,
    pool,
)
from coordsvc.core.allocator import Allocator
from coordsvc.core.filters import ANY_NODE
from coordsvc.core.messages import Declined, Effect, Event, Refused
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, OfferId, TurnId


def full(nodes: int = 60) -> tuple[Pool, Allocator]:
    core = Allocator(Epoch("bench", 1))
    told = pool(nodes, 80, core)
    told.join()
    told.fill()
    return told, core


def test_nine_tenths_of_all_gpus_are_held_and_stay_so() -> None:
    told, core = full()
    for _ in range(3):
        assert core.ledger.held.gpu_milli / core.ledger.total.gpu_milli == pytest.approx(
            LOAD, abs=0.02
        )
        told.run(100)
    core.ledger.check()


def test_each_lease_is_wanted_accepted_and_finished() -> None:
    told, _ = full()
    told.took_ns.clear()
    told.run(200)
    counts = Counter({name: len(took) for name, took in told.took_ns.items()})
    assert set(counts) == {"Wanted", "Accepted", "Finished"}
    assert counts["Finished"] == 200
    assert counts["Wanted"] == pytest.approx(200, abs=10)
    assert counts["Accepted"] == pytest.approx(200, abs=10)


def test_some_phases_always_wait_and_their_leases_follow_upon_others_ends() -> None:
    told, core = full()
    edge = told.cohorts[-1]
    for _ in range(3):
        assert told.waiting() > 0
        assert len(edge.running) == 2 * min(EDGE_NODES, 60 // 5), "the edge is full"
        told.run(50)
    assert core.ledger.check() is None


def test_the_same_seed_gives_the_same_leases() -> None:
    (one, _), (other, _) = full(), full()
    one.run(100)
    other.run(100)
    assert [c.running for c in one.cohorts] == [c.running for c in other.cohorts]


class Broken:
    def handle(self, now: Instant, event: Event) -> list[Effect]:
        return [Refused(Declined(OfferId(1)), "broken")] if now >= 0 else []


def test_an_allocator_that_refuses_something_is_not_measured() -> None:
    told = pool(60, 80, Broken())
    with pytest.raises(AssertionError, match="broken"):
        told.fill()


def test_a_desk_tells_of_its_longest_waiting_phases() -> None:
    asker = Asker(DeskId("d"), AgentId("a"), Resources(gpu_milli=500), ANY_NODE)
    for number in range(WAITS_TOLD_MAX + 5):
        asker.waits[TurnId(str(number))] = Instant(number)
    wanted = asker.wanted(Instant(1_000))
    assert wanted.waiting == WAITS_TOLD_MAX + 5
    assert len(wanted.waits) == WAITS_TOLD_MAX
    assert (wanted.waits[3].turn, wanted.waits[3].waited_us) == ("3", 997)
    asker.start(None)
    asker.start(TurnId("7"))
    assert list(asker.waits)[:2] == ["1", "2"]
    assert "7" not in asker.waits


def test_what_is_scarce_at_the_edge_is_the_cpu() -> None:
    none = Asker(DeskId("d"), AgentId("a"), Resources(cpu_milli=300), ANY_NODE)
    some = Asker(DeskId("d"), AgentId("a"), Resources(gpu_milli=500, cpu_milli=300), ANY_NODE)
    assert (none.milli, some.milli) == (300, 500)
