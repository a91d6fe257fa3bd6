"""What comes back from the solver."""

from importlib.util import find_spec

import pytest

from coordsvc.solvers.baselines import RoundRobin
from coordsvc.solvers.execute import execute
from coordsvc.solvers.instance import Instance
from coordsvc.solvers.regret import totals

if find_spec("highspy") is None:
    pytest.skip("the experiments extra is not installed", allow_module_level=True)

from coordsvc.solvers.milp_highs import plan


def test_equality_is_not_bought_by_delaying_the_lucky() -> None:
    """Agent 1 could idle one step and be as late as agent 0, whose lateness nobody can mend."""
    instance = Instance(
        edges=(),
        releases=(0, 0),
        durations=((2, 2), (1, 1)),
        demands=(1, 1),
        capacity=2,
        messages=1,
    )
    planned = plan(instance, execute(instance, RoundRobin()))
    assert (planned.status, planned.gap) == ("OPTIMAL", 0)
    assert totals(instance, planned.schedule) == [2, 1]
