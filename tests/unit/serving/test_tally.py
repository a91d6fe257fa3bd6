"""What an allocator counts of its own life."""

from coordsvc.core.allocator import Allocator
from coordsvc.core.messages import DeskJoined, NodeJoined, NodeLost, Refused, Ticked, Wanted
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant
from coordsvc.serving.pool import Watched
from coordsvc.serving.tally import Tally
from tests.fakes import N1, SLOT
from tests.unit.serving.http.fakes import SetClock

P1, PLANNER = DeskId("p1"), AgentId("planner")


def test_demand_is_what_is_held_and_what_waiting_phases_lack() -> None:
    core = Allocator(Epoch("run", 1))
    tally = Tally(core, SetClock())
    core.handle(Instant(1), NodeJoined(N1, Resources(cpu_milli=2_000)))
    core.handle(Instant(1), DeskJoined(P1, PLANNER, SLOT))
    core.handle(Instant(1), Wanted(P1, 5, 0))
    told = tally.snapshot(None)
    assert told.alloc["planner", "cpu"] == 2_000
    assert told.demand["planner", "cpu"] == 5_000
    assert told.waiting == {"planner": 5}


def test_agents_of_tenants_are_counted_as_one_and_tenants_beside() -> None:
    core = Allocator(Epoch("run", 1))
    tally = Tally(core, SetClock())
    core.handle(Instant(1), NodeJoined(N1, Resources(cpu_milli=4_000)))
    for number, agent in enumerate(("planner", "sales/planner", "research/planner")):
        desk = DeskId(f"p{number}")
        core.handle(Instant(1), DeskJoined(desk, AgentId(agent), SLOT))
        core.handle(Instant(1), Wanted(desk, 2 * number, 0))
    told = tally.snapshot(None)
    assert told.waiting == {"planner": 6}
    assert told.alloc["planner", "cpu"] == 4_000
    assert told.demand["planner", "cpu"] == 6_000
    assert told.share == {"planner": 1.0}
    assert told.open_offers == {("planner", "issued"): 4}
    mine = {tenant: told.tenant_alloc[tenant, "cpu"] for tenant in ("research", "sales")}
    assert mine == {"research": 2_000, "sales": 2_000}
    assert {tenant for tenant, _ in told.tenant_alloc} == {"research", "sales"}


def test_what_engines_count_goes_with_them() -> None:
    core = Allocator(Epoch("run", 1))
    tally = Tally(core, SetClock())
    core.handle(Instant(1), NodeJoined(N1, Resources(cpu_milli=2_000)))
    tally.word(Instant(2), N1, Watched(broken_reservations=2, waiting=4))
    told = tally.snapshot(None)
    assert (told.broken_reservations, told.engine_waiting) == (2, 4)
    core.handle(Instant(3), NodeLost(N1))
    tally.node_gone(N1)
    told = tally.snapshot(None)
    assert (told.broken_reservations, told.engine_waiting, told.accelerators) == (0, 0, 0)


def test_refusals_are_counted() -> None:
    tally = Tally(Allocator(Epoch("run", 1)), SetClock())
    tally.effect(Refused(Ticked(), "late"))
    assert tally.status()["refused_events"] == 1


def test_a_look_says_when_the_next_one_may_be() -> None:
    """A look that takes a millisecond may be taken ten times a second."""
    times = iter([Instant(0), Instant(1_000)])
    clock = SetClock()
    clock.now = times.__next__
    assert Tally(Allocator(Epoch("run", 1)), clock).look(Instant(5)) == 0.1
