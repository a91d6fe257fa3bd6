"""What a run may be told."""

import pytest

from coordsvc.core.units import SECOND, Micros
from coordsvc.simulation.settings import FaultTerms, SimSettings
from coordsvc.simulation.workload import NodePlan


def test_the_pool_is_the_workloads_unless_another_is_named() -> None:
    assert SimSettings(workload="poisson").slots == 16
    assert SimSettings(workload="heterogeneous").slots == 40
    assert SimSettings(workload="heterogeneous").speed == pytest.approx(30.4)
    assert SimSettings(nodes=(NodePlan(count=3, slots=2),)).slots == 6


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"workload": "lunar"}, "there are poisson"),
        ({"load": 0.0}, "load is 0.0"),
        ({"load": float("nan")}, "load is nan"),
        ({"warm_us": Micros(SECOND), "lasts_us": Micros(SECOND)}, "before they end"),
        ({"replicas": 0}, "at least one replica"),
        ({"faults": FaultTerms(lost=1.0)}, "from 0 to 1"),
        ({"faults": FaultTerms(late=-0.1)}, "from 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(wrong: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SimSettings(**wrong)


def test_one_tenants_turns_are_those_that_it_has_among_all() -> None:
    together = SimSettings(workload="tenants").workload_drawn()
    alone = SimSettings(workload="tenants", tenant="tenant2").workload_drawn()
    assert alone.turns == together.only("tenant2").turns != ()
