"""What goes wrong, drawn beforehand."""

from coordsvc.core.units import SECOND, Micros
from coordsvc.simulation.faults import FaultPlan
from coordsvc.simulation.settings import FaultTerms, SimSettings


def plan(seed: int = 1, **faults) -> FaultPlan:
    lasts = Micros(6_000 * SECOND)
    return FaultPlan(SimSettings(seed=seed, lasts_us=lasts, faults=FaultTerms(**faults)))


def test_nothing_goes_wrong_unless_said() -> None:
    calm = plan()
    assert (calm.node_losses, calm.allocator_losses) == ((), ())
    assert not any(calm.slow() for _ in range(100))


def test_accidents_come_as_often_as_told_and_from_the_seed() -> None:
    bad = plan(node_losses_per_minute=2.0, allocator_losses_per_minute=1.0)
    assert 160 < len(bad.node_losses) < 240
    assert 70 < len(bad.allocator_losses) < 130
    assert bad.node_losses == plan(node_losses_per_minute=2.0).node_losses
    assert bad.node_losses != plan(2, node_losses_per_minute=2.0).node_losses


def test_some_agents_are_slow() -> None:
    some = plan(slow_agents=0.3)
    assert 200 < sum(some.slow() for _ in range(1_000)) < 400
