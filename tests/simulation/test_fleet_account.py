"""The fleet's account, as the service keeps it, against the simulation's exact book of the same."""

import pytest

from coordsvc.core.computed import BIN_US, Computing
from coordsvc.core.fleet import WHOLE, States
from coordsvc.core.fleet_book import FleetBook, look
from coordsvc.core.units import SECOND, Instant, Micros, NodeId
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.world import World


class Watched(World):
    """A world whose allocator is looked at, and whose engines tell what they compute."""

    def __init__(self, settings: SimSettings) -> None:
        super().__init__(settings)
        self.account = FleetBook()
        self.engines_tell: dict[NodeId, Computing] = {}
        exact = self.book.computing

        def computing(now: Instant, node: NodeId, change: int) -> None:
            exact(now, node, change)
            plan = self.engines[node].plan
            self.telling(node).changed(now, change * WHOLE // plan.slots)

        self.book.computing = computing
        self.loop.at(Instant(BIN_US), self._look)
        self.loop.at(Instant(SECOND), self._tell)

    def telling(self, node: NodeId) -> Computing:
        if node not in self.engines_tell:
            capacity = WHOLE
            self.engines_tell[node] = Computing(self.clock.now(), capacity)
        return self.engines_tell[node]

    def _look(self) -> None:
        core = self.allocator.core
        if core is not None:
            self.account.looked(self.clock.now(), look(core.ledger, core.desks.values()))
        self.loop.after(BIN_US, self._look)

    def _tell(self) -> None:
        for node in self.engines:
            word = self.telling(node).word(self.clock.now())
            self.account.told(self.clock.now(), node, word)
        self.loop.after(Micros(SECOND), self._tell)


def parts(states: States) -> dict[str, float]:
    return {name: amount / states.total for name, amount in states.as_dict().items()}


@pytest.mark.parametrize(
    ("workload", "load"), [("poisson", 0.5), ("poisson", 1.1), ("bursty", 0.8)]
)
def test_the_account_of_looks_is_the_exact_one(workload: str, load: float) -> None:
    settings = SimSettings(workload=workload, load=load, seed=4, lasts_us=Micros(60 * SECOND))
    world = Watched(settings)
    world.run()
    exact = parts(world.book.snapshot(world.clock.now())[0])
    assert parts(world.account.states) == pytest.approx(exact, abs=0.02)
    nodes = len(world.engines)
    assert world.account.remainder < 0.2 * SECOND * WHOLE * nodes
