"""Every policy on every workload, on the same accelerators."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from coordsvc.bench.policies_figures import interval
from coordsvc.bench.policies_runs import (
    COLUMNS,
    Doing,
    Say,
    by_cell,
    known,
    milliseconds,
    settings_of,
    with_policy,
)
from coordsvc.simulation.catalogue import NAMES as WORKLOADS
from coordsvc.simulation.simulate import simulate

Figures = dict[str, float | None]
SLOTS = 16
"""Of the pool; the heterogeneous one, which is what that workload is about, has 40."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run."""

    workload: str
    policy: str
    seed: int
    load: float
    run_s: float
    tenant: str | None = None
    """Alone, with the pool to itself."""


def run(cell: Cell) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the cell's place in the table, and what the run came to."""
    slots = None if cell.workload == "heterogeneous" else SLOTS
    plain = settings_of(cell.workload, cell.seed, load=cell.load, run_s=cell.run_s, slots=slots)
    result = simulate(with_policy(plain, cell.policy))
    figures: Figures = {
        "turns_per_s": result.turns_per_s,
        "p50_ms": milliseconds(result.p50_us),
        "p95_ms": milliseconds(result.p95_us),
        "p99_ms": milliseconds(result.p99_us),
        "in_time": result.in_time,
        "fairness": result.fairness,
        "of_ideal": result.fleet.of_ideal,
    }
    return (cell.workload, cell.policy), {"figures": figures, "means": result.tenants_mean_us}


def alone(cell: Cell) -> tuple[int, dict[str, int]]:
    """Return each tenant's mean latency with the pool to itself, by seed."""
    from dataclasses import replace  # placeholder

    raise NotImplementedError(replace, cell)
