"""The plain allocator does the same work as the production one, from the same state on."""

import pytest

from coordsvc.bench.allocator_pool import Pool, pool
from coordsvc.bench.allocator_rescan import Rescan
from coordsvc.core.allocator import Allocator
from coordsvc.core.messages import Effect, Event, SendOffer, Ticked
from coordsvc.core.resources import Resources
from coordsvc.core.units import Epoch, Instant


def full() -> tuple[Pool, Allocator]:
    core = Allocator(Epoch("bench", 1))
    told = pool(60, 80, core)
    told.join()
    told.fill()
    return told, core


def test_it_knows_what_the_production_core_knew() -> None:
    _, core = full()
    plain = Rescan.of(core)
    assert plain.offers == core.ledger.offers
    for node in core.ledger.capacity:
        assert plain.nodes[node].free == core.ledger.free(node)
    for state in core.desks.values():
        assert plain.held[state.agent] == core.ledger.held_by(state.agent)


def test_it_serves_as_many_leases_and_fills_the_pool_as_much() -> None:
    told, core = full()
    other, _ = full()
    held = core.ledger.held
    plain = Rescan.of(core)
    told.handler = plain
    for one in (told, other):
        one.run(300)
    running = [[len(cohort.running) for cohort in one.cohorts] for one in (told, other)]
    assert running[0] == pytest.approx(running[1], rel=0.1)
    free = sum((node.free for node in plain.nodes.values()), start=Resources())
    assert free + sum((o.bundle for o in plain.offers.values()), start=Resources()) == plain.total
    assert (plain.total - free).gpu_milli == pytest.approx(held.gpu_milli, rel=0.02)


class Both:
    """Both allocators at once, the plain one on the production core's state before each event."""

    def __init__(self, core: Allocator) -> None:
        self.core = core
        self.offered = 0

    def handle(self, now: Instant, event: Event) -> list[Effect]:
        plain = Rescan.of(self.core).handle(now, event)
        effects = self.core.handle(now, event)
        assert desks(plain) == desks(effects)
        self.offered += len(desks(effects))
        return effects


def desks(effects: list[Effect]) -> list[str]:
    return [effect.offer.desk for effect in effects if isinstance(effect, SendOffer)]


def test_it_offers_to_the_same_desks_as_the_production_core() -> None:
    told, core = full()
    told.handler = both = Both(core)
    told.run(150)
    assert both.offered == pytest.approx(150, abs=10)


def test_it_knows_nothing_but_leases() -> None:
    plain = Rescan.of(full()[1])
    with pytest.raises(AssertionError, match="Ticked"):
        plain.handle(Instant(0), Ticked())
