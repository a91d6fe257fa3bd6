"""Heavy tails at a high load, and deadlines: how much the order of service is worth.

Latencies and deadlines are told with the costs of phases known to the desks, and with means of
each agent only, of which the true ones differ by orders of magnitude.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coordsvc.bench.policies_figures import interval, ratio, significant, target
from coordsvc.bench.policies_runs import (
    KNOWS,
    LEARNED,
    LOOKS_AT_COSTS,
    SHARED,
    Doing,
    Say,
    best,
    by_cell,
    known,
    milliseconds,
    settings_of,
    with_policy,
)
from coordsvc.simulation.results import percentile
from coordsvc.simulation.simulate import simulate

TAILS_LOAD = 0.85
TAILS_SLOTS = (4, 8, 16)
"""Pools. On the larger ones fewer wait, and the long turns' own time is most of the p95."""
TAILS_MAX = 0.5
DEADLINES = (("poisson", 4, 0.9), ("bursty", 16, 0.85))
"""Workload, slots, load."""
IN_TIME_MIN, ROUND_ROBIN_MAX, THROUGHPUT_MIN = 0.99, 0.95, 0.95
BASELINE = "round_robin"
ORDERS = tuple(name for name in SHARED if name not in {"utility", LEARNED})
"""Utilities are about roles: of two turns they know nothing that fair shares do not."""
MEANS = "means only"
SAID_BY_DEADLINES = (
    "deadlines are drawn as multiples of a turn's true cost: who goes by them is told of it, "
    "whether desks know costs or not"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run."""

    workload: str
    slots: int
    load: float
    policy: str
    costs_known: bool
    seed: int
    run_s: float

    @property
    def column(self) -> str:
        """The policy, and whether it knew costs where it asks for them."""
        return self.policy if self.costs_known else f"{self.policy}, {MEANS}"


def run(cell: Cell) -> tuple[tuple[str, ...], dict[str, float | None]]:
    """Return where a run belongs, and its figures."""
    plain = settings_of(
        cell.workload, cell.seed, load=cell.load, run_s=cell.run_s, slots=cell.slots
    )
    settings = replace(with_policy(plain, cell.policy), costs_known=cell.costs_known)
    result = simulate(settings)
    figures = {
        "p50_ms": milliseconds(result.p50_us),
        "p95_ms": milliseconds(result.p95_us),
        "p99_ms": milliseconds(result.p99_us),
        "in_time": result.in_time,
        "turns_per_s": result.turns_per_s,
    }
    return (cell.column,), figures


def bound_ms(cell: Cell) -> float:
    """Return the p95 of the turns' own costs: no policy's can be lower."""
    settings = settings_of(
        cell.workload, cell.seed, load=cell.load, run_s=cell.run_s, slots=cell.slots
    )
    turns = settings.workload_drawn().turns
    costs = sorted(turn.cost_us for turn in turns if turn.arrives >= settings.warm_us)
    found = milliseconds(percentile(costs, len(costs), 95))
    assert found is not None, "turns arrived"
    return found


def tails(seeds: Sequence[int], run_s: float, do: Doing[Any, Any], say: Say) -> dict[str, Any]:
    """Return latencies under heavy-tailed lengths, by size of the pool, and what was to show."""
    pools: dict[str, Any] = {}
    for slots in TAILS_SLOTS:
        say(f"heavy tails: {slots} slots")
        spans = run_s * TAILS_SLOTS[0] / slots
        pools[str(slots)] = _tails_on(slots, seeds, spans, do)
    first = pools[str(TAILS_SLOTS[0])]
    reached = first["policies"][first["best"]]["p95_vs_round_robin"]["mean"]
    what = f"heavy_tailed, {TAILS_SLOTS[0]} slots, load {TAILS_LOAD}: p95 over round robin's"
    return {
        "load": TAILS_LOAD,
        "pools": pools,
        "note": SAID_BY_DEADLINES,
        "p95_vs_round_robin": reached,
        "must_show": [target(f"{what}, {first['best']}", reached, TAILS_MAX, at_least=False)],
    }


def _tails_on(
    slots: int, seeds: Sequence[int], run_s: float, do: Doing[Any, Any]
) -> dict[str, Any]:
    cells = _cells("heavy_tailed", slots, TAILS_LOAD, seeds, run_s)
    found = by_cell(do(run, cells))
    base = _column(found, BASELINE, "p95_ms")
    bounds = [bound_ms(cell) for cell in cells[: len(seeds)]]
    told: dict[str, Any] = {}
    for (column,) in found:
        p95 = _column(found, column, "p95_ms")
        told[column] = {
            "p95_vs_round_robin": ratio(p95, base),
            "p95_ms": interval(p95),
            "p50_ms": interval(_column(found, column, "p50_ms")),
            "p99_ms": interval(_column(found, column, "p99_ms")),
            "in_time": interval(_column(found, column, "in_time")),
            "knows": KNOWS[column.split(",", maxsplit=1)[0]],
        }
    ratios = {name: cell["p95_vs_round_robin"]["mean"] for name, cell in told.items()}
    told_costs = (*LOOKS_AT_COSTS, f"slack, {MEANS}")  # the last is told by deadlines
    without = {name: r for name, r in ratios.items() if name not in told_costs}
    lowest = best(ratios, largest=False)
    return {
        "policies": told,
        "best": lowest,
        "best_without_costs": best(without, largest=False),
        "bound_p95_ms": interval(bounds),
        "bound_vs_round_robin": ratio(bounds, base),
        "bound_over_best": ratio(bounds, _column(found, lowest, "p95_ms")),
    }


def deadlines(seeds: Sequence[int], run_s: float, do: Doing[Any, Any], say: Say) -> dict[str, Any]:
    """Return how many deadlines are met, by workload and load, and what was to show."""
    told: dict[str, Any] = {}
    must: list[dict[str, Any]] = []
    for workload, slots, load in DEADLINES:
        name = f"{workload}, {slots} slots, load {load}"
        say(f"deadlines: {name}")
        spans = run_s * DEADLINES[0][1] / slots
        found = by_cell(do(run, _cells(workload, slots, load, seeds, spans)))
        told[name], shown = _deadlines_on(found, name)
        must += shown
    return {"cells": told, "note": SAID_BY_DEADLINES, "must_show": must}


def _deadlines_on(
    found: Mapping[tuple[str, ...], Sequence[Mapping[str, float | None]]], name: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    columns = [column for (column,) in found]
    in_time = {column: _column(found, column, "in_time") for column in columns}
    speeds = {column: _column(found, column, "turns_per_s") for column in columns}
    means = {column: sum(values) / len(values) for column, values in in_time.items()}
    winner = best(means, largest=True)
    fastest = best({c: sum(values) for c, values in speeds.items()}, largest=True)
    speed = ratio(speeds[winner], speeds[fastest])
    policies = {
        column: {"in_time": interval(in_time[column]), "turns_per_s": interval(speeds[column])}
        for column in columns
    }
    told = {
        "policies": policies,
        "best": winner,
        "most_throughput": fastest,
        "throughput_vs_most": speed,
        "round_robin_below": significant(means[BASELINE]),
    }
    must = [
        target(f"{name}: round robin meets", means[BASELINE], ROUND_ROBIN_MAX, at_least=False),
        target(f"{name}: {winner} meets", means[winner], IN_TIME_MIN, at_least=True),
        target(
            f"{name}: {winner}'s throughput over {fastest}'s",
            speed["mean"],
            THROUGHPUT_MIN,
            at_least=True,
        ),
    ]
    return told, must


def _cells(
    workload: str, slots: int, load: float, seeds: Sequence[int], run_s: float
) -> list[Cell]:
    columns = [(policy, True) for policy in ORDERS]
    columns += [(policy, False) for policy in LOOKS_AT_COSTS]
    return [
        Cell(
            workload=workload,
            slots=slots,
            load=load,
            policy=policy,
            costs_known=costs_known,
            seed=seed,
            run_s=run_s,
        )
        for policy, costs_known in columns
        for seed in seeds
    ]


def _column(
    found: Mapping[tuple[str, ...], Sequence[Mapping[str, float | None]]], name: str, figure: str
) -> list[float]:
    values = known(figures[figure] for figures in found[name,])
    assert values is not None, f"turns of {name} never ended"
    return values
