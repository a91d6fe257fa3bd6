"""How much a pool loses when part of it lies in pieces too small for the largest demand."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER
from coordsvc.core.errors import BadRequest
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, Micros
from coordsvc.experiments.statistics import DRAWS, SEED, Interval, at_least, below, interval, mean
from coordsvc.experiments.study import (
    Cell,
    Conclusion,
    Figure,
    Finding,
    Plan,
    Row,
    Say,
    Table,
    Verdict,
)
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.simulate import simulate
from coordsvc.simulation.workload import NodePlan, WorkloadTerms

SATURATED = "saturated"
"""Everybody asks again at once: what S_measured and its ideal are compared at."""
LIMIT = 0.8
"""Of the ideal: the hypothesis' own."""
FLAT = 1e-6
"""A slope that is none."""
USERS_A_SLOT = 3
"""Enough that somebody always waits."""


class Fragmentation:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "fragmentation"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for levels that no pool of this size can have."""
        for level in plan.parameters["levels"]:
            pool(plan.parameters, level)

    def cells(self, plan: Plan) -> list[Cell]:
        """Return a run for each level, load and seed."""
        told = plan.parameters
        loads = [SATURATED, *told["loads"]]
        return [
            Cell(
                key=f"level {level:.0%}, load {load}, seed {seed}",
                settings={**told, "level": level, "load": load, "seed": seed},
            )
            for level, load, seed in product(told["levels"], loads, plan.seeds)
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Simulate it."""
        del say
        told = cell.settings
        result = simulate(settings(told))
        fleet = result.fleet
        total = sum(fleet.states.values())
        return [
            {
                "level": told["level"],
                "load": str(told["load"]),
                "seed": told["seed"],
                "of_ideal": fleet.of_ideal,
                "s_measured": fleet.s_measured,
                "s_ideal": fleet.s_ideal,
                "turns_per_s": result.turns_per_s,
                "p50_s": _seconds(result.p50_us),
                "p95_s": _seconds(result.p95_us),
                "c_coord_fleet_s": _seconds(fleet.c_coord_us),
                **{f"{name}_share": time / total for name, time in fleet.states.items()},
            }
        ]

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return the hypothesis' verdict at its level, and where the knee is."""
        told = plan.parameters
        saturated: dict[float, list[float]] = defaultdict(list)
        for row in rows:
            if row["load"] == SATURATED and row["of_ideal"] is not None:
                saturated[_number(row, "level")].append(_number(row, "of_ideal"))
        by_level = {level: mean(saturated[level]) for level in sorted(saturated)}
        hypothesis = told["hypothesis_level"]
        findings = [
            Finding(
                name=f"of_ideal_{level:.2f}",
                value=one.value,
                low=one.low,
                high=one.high,
                says=f"S_measured against ideal, {level:.0%} in small pieces",
                wanted=f"below {LIMIT}" if level == hypothesis else None,
                met=_is_below(one) if level == hypothesis else None,
            )
            for level, one in by_level.items()
        ]
        verdict = Verdict.UNDECIDED
        says = f"The runs at {hypothesis:.0%} are missing."
        if hypothesis in by_level:
            one = by_level[hypothesis]
            verdict = below(one, LIMIT)
            says = (
                f"With {hypothesis:.0%} of the capacity in pieces too small for the largest "
                f"demand, S_measured is {one.shown()} of its ideal; the claim was below {LIMIT}."
            )
        if (found := knee(saturated)) is not None:
            wide = wide_share(told)
            says += (
                f" It begins to fall at {found.value:.0%} [{found.low:.0%}, {found.high:.0%}]; "
                f"small phases make {1 - wide:.0%} of the work, and up to there they can fill the "
                "pieces."
            )
            findings.append(
                Finding(
                    name="knee",
                    value=found.value,
                    low=found.low,
                    high=found.high,
                    says="level at which S_measured begins to fall",
                )
            )
        return Conclusion(
            verdict=verdict,
            says=says,
            findings=tuple(findings),
            figures=tuple(_figures(by_level, rows, told)),
            tables=(_states(rows),),
            summary={"wide_share": wide_share(told)},
        )


def pool(told: Mapping[str, Any], level: float) -> tuple[NodePlan, ...]:
    """Return whole accelerators, and pieces of one slot that make `level` of the capacity."""
    slots, each = told["accelerators"] * told["slots_each"], told["slots_each"]
    pieces = level * slots
    if abs(pieces - round(pieces)) > 1e-9 or (slots - round(pieces)) % each:  # noqa: PLR2004 - exact
        raise BadRequest(
            f"a level of {level} of {slots} slots is {pieces:g} pieces and no whole number of "
            f"accelerators of {each}; choose another level or size"
        )
    whole = (slots - round(pieces)) // each
    if whole == 0:
        raise BadRequest(f"at a level of {level} nothing is left that the largest demand fits")
    plans = [NodePlan(count=whole, slots=each)]
    return (*plans, NodePlan(count=round(pieces), slots=1)) if round(pieces) else tuple(plans)


def settings(told: Mapping[str, Any]) -> SimSettings:
    """Return one run."""
    slots = told["accelerators"] * told["slots_each"]
    saturated = told["load"] == SATURATED
    terms = WorkloadTerms(users=USERS_A_SLOT * slots, think_us=Micros(1_000))
    return SimSettings(
        workload="closed_loop" if saturated else "poisson",
        seed=told["seed"],
        load=1.0 if saturated else told["load"] / _width(told, terms),
        lasts_us=Micros(round(told["lasts_s"] * SECOND)),
        warm_us=Micros(round(told["warm_s"] * SECOND)),
        drain_us=Micros(round(told["lasts_s"] * SECOND)),
        nodes=pool(told, told["level"]),
        widths={PLANNER: 1, RESPONDER: told["largest"], CHECKER: 1},
        workload_terms=terms,
        terms=Terms(policy=PolicyTerms(name=told["policy"])),
    )


def wide_share(told: Mapping[str, Any], terms: WorkloadTerms | None = None) -> float:
    """Return the part of the work, in slots times time, that is of the largest demand."""
    used = terms or WorkloadTerms()
    again = 1 + used.rejected
    wide = told["largest"] * used.respond_us * again
    return float(wide / (wide + used.plan_us + used.check_us * again))


def knee(saturated: Mapping[float, Sequence[float]]) -> Interval | None:
    """Return where a level line and a falling one meet that fit best, drawn over the seeds.

    None where there are too few levels for two lines, or nothing falls.
    """
    levels = np.array(sorted(saturated))
    runs = min((len(saturated[level]) for level in levels), default=0)
    if len(levels) < 4 or runs < 1:  # noqa: PLR2004 - two for each line
        return None
    table = np.array([saturated[level][:runs] for level in levels])
    value = _bend(levels, table.mean(axis=1))
    if value is None:
        return None
    picks = np.random.default_rng(SEED).integers(0, runs, size=(DRAWS // 10, runs))
    drawn = [_bend(levels, table[:, pick].mean(axis=1)) for pick in picks]
    there = [one for one in drawn if one is not None]
    return interval(value, np.array(there), runs)


def _bend(levels: np.ndarray, values: np.ndarray) -> float | None:
    """Return the best bend of max(0, level - bend) * slope + top, by least squares."""
    best, found = np.inf, None
    for bend in np.linspace(levels[0], levels[-1], 201)[:-1]:
        past = np.maximum(0.0, levels - bend)
        design = np.column_stack([np.ones_like(levels), past])
        fitted, *_ = np.linalg.lstsq(design, values, rcond=None)
        missed = float(((design @ fitted - values) ** 2).sum())
        if fitted[1] < -FLAT and missed < best - 1e-15:
            best, found = missed, float(bend)
    return found


def _is_below(one: Interval) -> bool | None:
    decided = at_least(one, LIMIT)
    return None if decided is None else not decided


def _width(told: Mapping[str, Any], terms: WorkloadTerms) -> float:
    """Return the slots that a microsecond of engine time takes on average."""
    again = 1 + terms.rejected
    narrow = terms.plan_us + terms.check_us * again
    wide = terms.respond_us * again
    return float((narrow + told["largest"] * wide) / (narrow + wide))


def _number(row: Row, name: str) -> float:
    value = row[name]
    assert isinstance(value, int | float), f"{name} is a number"
    return float(value)


def _seconds(micros: float | None) -> float | None:
    return None if micros is None else micros / SECOND


def _figures(
    by_level: Mapping[float, Interval], rows: Sequence[Row], told: Mapping[str, Any]
) -> list[Figure]:
    def of_ideal(canvas: Any) -> None:
        axes = canvas.subplots()
        levels = list(by_level)
        values = [one.value for one in by_level.values()]
        below_, above = (
            [one.value - one.low for one in by_level.values()],
            [one.high - one.value for one in by_level.values()],
        )
        axes.errorbar(levels, values, yerr=[below_, above], marker="o", capsize=3, label="measured")
        line = np.linspace(0, max(levels), 100)
        axes.plot(
            line,
            np.minimum(1, (1 - line) / wide_share(told)),
            "--",
            color="tab:gray",
            label="bound: small phases fill the pieces first",
        )
        axes.axhline(LIMIT, color="tab:red", linewidth=1, label=f"{LIMIT} of ideal")
        axes.set_xlabel("share of the capacity in pieces too small for the largest demand")
        axes.set_ylabel("S_measured / ideal")
        axes.set_ylim(0, 1.05)
        axes.legend()

    def latency(canvas: Any) -> None:
        axes = canvas.subplots()
        for level in by_level:
            points = _curve(rows, level)
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=f"{level:.0%}")
        axes.set_xlabel("turns a second")
        axes.set_ylabel("p95 of a turn, s")
        axes.set_yscale("log")
        axes.legend(title="in small pieces")

    return [
        Figure(
            name="of_ideal",
            caption="S_measured against its ideal under saturating load; 95 % over the seeds.",
            draw=of_ideal,
        ),
        Figure(
            name="latency",
            caption="Latency against throughput, for each level; points are loads, means of seeds.",
            draw=latency,
        ),
    ]


def _curve(rows: Sequence[Row], level: float) -> list[tuple[float, float]]:
    """Return (turns a second, p95) of each load below saturation at which turns still end."""
    by_load: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["level"] == level and row["load"] != SATURATED:
            by_load[str(row["load"])].append(row)
    points = []
    for them in by_load.values():
        known = [row for row in them if row["p95_s"] is not None]
        if len(known) == len(them):
            points.append(
                (
                    sum(_number(row, "turns_per_s") for row in known) / len(known),
                    sum(_number(row, "p95_s") for row in known) / len(known),
                )
            )
    return sorted(points)


def _states(rows: Sequence[Row]) -> Table:
    names = ("computing", "held", "blocked", "stranded", "idle")
    levels = sorted({_number(row, "level") for row in rows if row["load"] == SATURATED})
    told = []
    for level in levels:
        them = [row for row in rows if row["load"] == SATURATED and row["level"] == level]
        shares = (sum(_number(row, f"{name}_share") for row in them) / len(them) for name in names)
        told.append((f"{level:.0%}", *(f"{share:.1%}" for share in shares)))
    return Table(
        title="Where the pool's time went under saturating load",
        columns=("in small pieces", *names),
        rows=tuple(told),
    )
