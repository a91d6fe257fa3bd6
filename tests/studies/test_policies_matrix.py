"""Every policy on every workload."""

from coordsvc.bench import policies_matrix as matrix
from coordsvc.bench.policies_runs import COLUMNS, doing
from coordsvc.simulation.catalogue import STEADY


def test_a_tenant_alone_is_no_slower_than_among_others() -> None:
    cell = matrix.Cell(workload="tenants", policy="first_come", seed=1, run_s=20.0)
    _, shared = matrix.run(cell)
    slowest = matrix.worst_slowdown(shared.tenants_ms, matrix.alone(cell))
    assert slowest is not None
    assert slowest >= 1.0


def test_the_worst_slowdown_is_of_those_who_were_seen_alone() -> None:
    assert matrix.worst_slowdown({"a": 3.0, "b": 8.0, "c": 9.0}, {"a": 1.0, "b": 4.0}) == 3.0
    assert matrix.worst_slowdown({}, {}) is None


def test_the_matrix_is_whole() -> None:
    with doing(1) as do:
        told = matrix.measure([1, 2], 2.0, do, lambda _: None)
    assert list(told) == list(STEADY)
    for policies in told.values():
        assert list(policies) == list(COLUMNS)
        assert all(set(row) == set(matrix.FIGURES) for row in policies.values())
    assert told["tenants"]["slack"]["worst_slowdown"] is not None
    assert told["poisson"]["slack"]["worst_slowdown"] is None
    ideal = told["closed_loop"]["first_come"]["of_ideal"]
    assert 0 < ideal["mean"] <= 1.5
