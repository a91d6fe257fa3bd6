"""Every policy on every workload, on the same accelerators."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from coordsvc.simulation.catalogue import STEADY as WORKLOADS
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.simulate import simulate

SLOTS = 16
"""Of the pool; the heterogeneous one, which is what that workload is about, has 40."""
FIGURES = (
    *("turns_per_s", "p50_ms", "p95_ms", "p99_ms", "in_time", "fairness", "worst_slowdown"),
    "of_ideal",
)
"""What is told of a policy on a workload; `of_ideal` is S_measured over ideal."""
LOAD = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run."""

    workload: str
    policy: str
    seed: int
    run_s: float

    def settings(self) -> SimSettings:
        """Return the run's settings."""
        slots = None if self.workload == "heterogeneous" else SLOTS
        plain = settings_of(self.workload, self.seed, load=LOAD, run_s=self.run_s, slots=slots)
        return with_policy(plain, self.policy)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    figures: dict[str, float | None]
    tenants_ms: dict[str, float]
    """Mean latencies."""


def run(cell: Cell) -> tuple[tuple[str, ...], Outcome]:
    """Return a run's place in the table, and what it came to."""
    result = simulate(cell.settings())
    figures = {
        "turns_per_s": result.turns_per_s,
        "p50_ms": milliseconds(result.p50_us),
        "p95_ms": milliseconds(result.p95_us),
        "p99_ms": milliseconds(result.p99_us),
        "in_time": result.in_time,
        "fairness": result.fairness,
        "of_ideal": result.fleet.of_ideal,
    }
    means = {name: mean_us / 1_000 for name, mean_us in result.tenants_mean_us.items()}
    return (cell.workload, cell.policy), Outcome(figures, means)


def alone(cell: Cell) -> dict[str, float]:
    """Return each tenant's mean latency with the pool to itself.

    Under one policy for all, for a tenant that is alone on most of a pool hardly ever waits.
    """
    settings = cell.settings()
    found: dict[str, float] = {}
    for n in range(settings.workload_terms.tenants):
        name = f"tenant{n + 1}"
        mean_us = simulate(replace(settings, tenant=name)).tenants_mean_us.get(name)
        if mean_us:
            found[name] = mean_us / 1_000
    return found


def measure(
    seeds: Sequence[int], run_s: float, do: Doing[Any, Any], say: Say
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by workload and policy, each figure's mean and interval over the seeds."""
    told: dict[str, dict[str, dict[str, Any]]] = {}
    for workload in WORKLOADS:
        say(f"matrix: {workload}")
        cells = [
            Cell(workload=workload, policy=policy, seed=seed, run_s=run_s)
            for policy in COLUMNS
            for seed in seeds
        ]
        outcomes = by_cell(do(run, cells))
        apart: list[dict[str, float]] = []
        if workload == "tenants":
            say("matrix: each tenant alone")
            apart = list(do(alone, [replace(c, policy="first_come") for c in cells[: len(seeds)]]))
        told[workload] = {policy: _summary(outcomes[workload, policy], apart) for policy in COLUMNS}
    return told


def worst_slowdown(shared: Mapping[str, float], apart: Mapping[str, float]) -> float | None:
    """Return how many times longer the turns of the worst-off tenant took than alone."""
    slowdowns = [shared[name] / apart[name] for name in shared if name in apart]
    return max(slowdowns, default=None)


def _summary(outcomes: Sequence[Outcome], apart: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = [name for name in FIGURES if name != "worst_slowdown"]
    for name in names:
        values = known(outcome.figures[name] for outcome in outcomes)
        found[name] = None if values is None else interval(values)
    worst = [
        worst_slowdown(outcome.tenants_ms, alone_ms)
        for outcome, alone_ms in zip(outcomes, apart, strict=False)
    ]
    values = known(worst)
    found["worst_slowdown"] = None if values is None else interval(values)
    return found
