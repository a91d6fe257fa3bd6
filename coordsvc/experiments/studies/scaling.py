"""More accelerators: what of them arrives, when demands fit and when they leave pieces."""

import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from coordsvc.core.errors import BadRequest
from coordsvc.experiments.comparisons import by_kind, parts_figure, table
from coordsvc.experiments.live import asked_of, emulated, figures, prompts, served
from coordsvc.experiments.statistics import Interval, at_least
from coordsvc.experiments.study import (
    Cell,
    Conclusion,
    Figure,
    Finding,
    Plan,
    Row,
    Say,
    Verdict,
)
from coordsvc.settings import check

MATCHED, FRAGMENTING = "matched", "fragmenting"
WANTED = 0.95
"""Of the ideal, when matched: the study's own target."""
GPUS_MAX = 64
MILLI = 1_000
AGENTS = ("planner", "responder")
KIND = {"accelerators": "gpus", "demands": "demands"}


class Scaling:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "scaling"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for pools that no machine can hold, or settings that are wrong."""
        for gpus in plan.gpus or ():
            if gpus > GPUS_MAX:
                raise BadRequest(
                    f"--gpus {gpus}: each is a process here; at most {GPUS_MAX} are right"
                )
        for demands in (MATCHED, FRAGMENTING):
            check(settings(plan.parameters, demands))

    def cells(self, plan: Plan) -> list[Cell]:
        """Return a run for each pool, kind of demands and seed."""
        assert plan.gpus, "the catalogue names some"
        return [
            Cell(
                key=f"{gpus} accelerators, {demands}, seed {seed}",
                settings={**plan.parameters, "gpus": gpus, "demands": demands, "seed": seed},
            )
            for gpus, demands, seed in product(plan.gpus, (MATCHED, FRAGMENTING), plan.seeds)
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Send all prompts through planner and responder on a pool of this size."""
        told = cell.settings
        args = settings(told, told["demands"])
        if cell.keep is not None:
            cell.keep.mkdir(parents=True, exist_ok=True)
            args["decision_log"] = {"folder": str(cell.keep / "decisions")}
        count = min(told["prompts"], told["prompts_each"] * told["gpus"])
        asked = prompts(count, told["seed"], tuple(told["reply_tokens"]))
        clients = told["gpus"] * told["clients_each"]
        with served(args, told["gpus"], say, replicas=told["gpus"]) as url:
            load = asked_of(url, asked, clients, time.perf_counter_ns)
        about = {
            "gpus": told["gpus"],
            "demands": told["demands"],
            "seed": told["seed"],
            "lost": load.lost,
        }
        return figures(load, told["gpus"], shares(told, told["demands"]), about)

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return what of each pool arrived, and whether it is enough where demands fit."""
        of = _by(rows, "of_ideal")
        findings = [
            Finding(
                name=f"of_ideal_{demands}_{gpus}",
                value=one.value,
                low=one.low,
                high=one.high,
                says=f"S_measured against ideal, {gpus} accelerators, {demands}",
                wanted=f"at least {WANTED}" if demands == MATCHED else None,
                met=at_least(one, WANTED) if demands == MATCHED else None,
            )
            for (gpus, demands), one in of.items()
        ]
        matched = {gpus: one for (gpus, demands), one in of.items() if demands == MATCHED}
        worst = min(matched.values(), key=lambda one: one.value, default=None)
        return Conclusion(
            verdict=_verdict([matched.get(gpus) for gpus in plan.gpus or ()]),
            says=_says(worst, of),
            findings=tuple(findings),
            figures=(
                _speed(rows, of),
                parts_figure(
                    rows,
                    list(KIND.values()),
                    "C_coord of a turn by part, under load that fills the pool: waiting for offers "
                    "is waiting for capacity here.",
                ),
            ),
            tables=(table(rows, KIND),),
        )


def shares(told: Mapping[str, Any], demands: str) -> dict[str, float]:
    """Return the part of an accelerator that a phase of each agent takes."""
    places = told["places"]
    slots = {agent: told[f"{demands}_slots"][n] for n, agent in enumerate(AGENTS)}
    return {agent: round(MILLI * taken / places) / MILLI for agent, taken in slots.items()}


def settings(told: Mapping[str, Any], demands: str) -> dict[str, Any]:
    """Return a service of planner and responder, whose phases take such parts of an accelerator."""
    taken = shares(told, demands)
    return {
        "engine": emulated(told),
        "node": {"capacity": {"gpu": 1.0}},
        "agents": {
            "planner": {"demand": {"gpu": taken["planner"]}, "tokens_max": told["plan_tokens"]},
            "responder": {"demand": {"gpu": taken["responder"]}},
            "checker": None,
        },
    }


def _by(rows: Sequence[Row], name: str) -> dict[tuple[int, str], Interval]:
    """Return a column's mean over blocks and seeds, by pool and demands."""
    found = by_kind(rows, list(KIND.values()), name)
    return {(int(gpus), demands): one for (gpus, demands), one in found.items()}


def _verdict(matched: Sequence[Interval | None]) -> Verdict:
    """Return whether every pool is near its ideal; one that was not measured leaves it open."""
    met = [None if one is None else at_least(one, WANTED) for one in matched]
    if not met or None in met:
        return Verdict.MISSED if False in met else Verdict.UNDECIDED
    return Verdict.MET if all(met) else Verdict.MISSED


def _says(worst: Interval | None, of: Mapping[tuple[int, str], Interval]) -> str:
    if worst is None:
        return "No pool with matching demands was measured."
    said = f"With demands that fit, S_measured is {worst.shown()} of its ideal in the worst pool."
    pieces = [one for (_, demands), one in of.items() if demands == FRAGMENTING]
    if pieces:
        low = min(pieces, key=lambda one: one.value)
        said += f" With demands that leave pieces it comes down to {low.shown()}."
    return said


def _speed(rows: Sequence[Row], of: Mapping[tuple[int, str], Interval]) -> Figure:
    measured = _by(rows, "s_measured")
    ideal = _by(rows, "s_ideal")

    def draw(canvas: Any) -> None:
        left, right = canvas.subplots(1, 2)
        for demands in (MATCHED, FRAGMENTING):
            pools = [gpus for gpus, one in measured if one == demands]
            left.plot(
                pools, [measured[gpus, demands].value for gpus in pools], marker="o", label=demands
            )
            values = [of[gpus, demands] for gpus in pools]
            right.errorbar(
                pools,
                [one.value for one in values],
                yerr=[
                    [one.value - one.low for one in values],
                    [one.high - one.value for one in values],
                ],
                marker="o",
                capsize=3,
                label=demands,
            )
        pools = [gpus for gpus, one in ideal if one == MATCHED]
        left.plot(pools, [ideal[gpus, MATCHED].value for gpus in pools], "--", color="tab:gray")
        left.set_ylabel("S_measured (dashed: ideal)")
        right.axhline(WANTED, color="tab:red", linewidth=1)
        right.set_ylabel("of the ideal")
        right.set_ylim(0, 1.05)
        for axes in (left, right):
            axes.set_xlabel("accelerators")
        left.legend()

    return Figure(
        name="speed",
        caption="S_measured by the size of the pool, and the part of the ideal that it is.",
        draw=draw,
    )
