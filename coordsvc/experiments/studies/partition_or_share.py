"""A fixed part of the pool for each agent, or one pool that they share by offers."""

import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from coordsvc.core.errors import BadRequest
from coordsvc.experiments.comparisons import against, by_kind, parts_figure, table
from coordsvc.experiments.live import asked_of, emulated, figures, prompts, served
from coordsvc.experiments.statistics import at_least
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
from coordsvc.settings import check

PARTITION, SHARE = "partition", "share"
POLICIES: Mapping[str, Mapping[str, Any]] = {
    PARTITION: {"name": "static_partition", "partition": {"planner": 1, "responder": 1}},
    SHARE: {"name": "fair_share"},
}
KIND = {"accelerators": "gpus", "mix": "mix", "pool": "pool"}


class PartitionOrShare:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "partition-or-share"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for mixes or pools that are wrong."""
        for mix in plan.parameters["mixes"]:
            for pool in (PARTITION, SHARE):
                check(settings(plan.parameters, mix, pool))
        for gpus in plan.gpus or ():
            if gpus % 2:
                raise BadRequest(
                    f"--gpus {gpus}: two agents have equal parts; an even number is right"
                )

    def cells(self, plan: Plan) -> list[Cell]:
        """Return a run for each mix and seed, on the divided pool and on the shared one."""
        assert plan.gpus, "the catalogue names some"
        return [
            Cell(
                key=f"{mix}, {pool}, {gpus} accelerators, seed {seed}",
                settings={**plan.parameters, "mix": mix, "pool": pool, "gpus": gpus, "seed": seed},
            )
            for gpus, mix, seed, pool in product(
                plan.gpus, plan.parameters["mixes"], plan.seeds, (PARTITION, SHARE)
            )
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Send the mix's prompts."""
        told = cell.settings
        args = settings(told, told["mix"], told["pool"])
        clients = told["gpus"] * told["clients_each"]
        with served(args, told["gpus"], say, replicas=told["gpus"]) as url:
            load = asked_of(url, questions(told), clients, time.perf_counter_ns)
        about = {
            "mix": told["mix"],
            "pool": told["pool"],
            "gpus": told["gpus"],
            "seed": told["seed"],
            "lost": load.lost,
        }
        share = dict.fromkeys(("planner", "responder"), 1 / told["places"])
        return figures(load, told["gpus"], share, about)

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return what sharing is worth, mix by mix, side by side."""
        findings: list[Finding] = []
        gains: dict[str, str] = {}
        met: list[bool | None] = []
        assert plan.gpus, "the catalogue names some"
        for gpus, mix in product(plan.gpus, plan.parameters["mixes"]):
            there = [row for row in rows if (row["gpus"], row["mix"]) == (gpus, mix)]
            where = f"{mix}, {gpus} accelerators"
            for name, says in (
                ("turns_per_s", "turns a second, shared against divided"),
                ("p95_s", "p95 of a turn, likewise"),
                ("c_coord_s", "C_coord of a turn, likewise"),
            ):
                found = against(there, "pool", SHARE, PARTITION, name)
                wanted = name == "turns_per_s"
                if found is None:
                    met += [None] * wanted  # a claim of every mix is not decided without it
                    continue
                findings.append(
                    Finding(
                        name=f"{name} {where}",
                        value=found.value,
                        low=found.low,
                        high=found.high,
                        says=f"{where}: {says}",
                        wanted="above 1" if wanted else None,
                        met=at_least(found, 1.0) if wanted else None,
                    )
                )
                if wanted:
                    gains[where] = found.shown()
                    met.append(at_least(found, 1.0))
        told = "; ".join(f"{where}: {gain}" for where, gain in gains.items())
        return Conclusion(
            verdict=_verdict(met),
            says=f"Turns a second of the shared pool against the divided one. {told}."
            if told
            else "Nothing was measured side by side.",
            findings=tuple(findings),
            figures=(
                _side_by_side(rows),
                parts_figure(rows, list(KIND.values()), "C_coord of a turn by part."),
            ),
            tables=(table(rows, KIND), _parts_table(rows)),
        )


def settings(told: Mapping[str, Any], mix: str, pool: str) -> dict[str, Any]:
    """Return a service of planner and responder, divided or shared."""
    demand = {"demand": {"gpu": 1 / told["places"]}}
    return {
        "engine": emulated(told),
        "node": {"capacity": {"gpu": 1.0}},
        "offers": {"policy": dict(POLICIES[pool])},
        "agents": {
            "planner": {**demand, "tokens_max": told["mixes"][mix]["plan_tokens"]},
            "responder": demand,
            "checker": None,
        },
    }


def questions(told: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the mix's prompts: bursts of so many with short replies, then with long ones."""
    mix = told["mixes"][told["mix"]]
    short, long_ = mix["reply_tokens"]
    asked = prompts(told["prompts"], told["seed"], (short, short))
    burst = mix["burst"]
    return [
        (question, long_ if (n // burst) % 2 else short) for n, (question, _) in enumerate(asked)
    ]


def _verdict(met: Sequence[bool | None]) -> Verdict:
    if not met or None in met:
        return Verdict.FALSIFIED if False in met else Verdict.UNDECIDED
    return Verdict.CONFIRMED if all(met) else Verdict.FALSIFIED


def _parts_table(rows: Sequence[Row]) -> Table:
    """Return which part of the pool's time computed for each agent, and which for nobody."""
    found = {
        name: by_kind(rows, list(KIND.values()), f"{name}_part")
        for name in ("planner", "responder")
    }
    told = []
    for key, planner in found["planner"].items():
        responder = found["responder"][key]
        idle = 1 - planner.value - responder.value
        told.append((*key, planner.shown(), responder.shown(), f"{idle:.3f}"))
    return Table(
        title="Parts of the pool's time that computed for each agent",
        columns=(*KIND, "planner", "responder", "nobody"),
        rows=tuple(told),
    )


def _side_by_side(rows: Sequence[Row]) -> Figure:
    names = {"turns_per_s": "turns a second", "p95_s": "p95 of a turn, s"}
    found = {name: by_kind(rows, list(KIND.values()), name) for name in names}
    mixes = list(dict.fromkeys((str(row["gpus"]), str(row["mix"])) for row in rows))

    def draw(canvas: Any) -> None:
        both = canvas.subplots(1, 2)
        for axes, (name, title) in zip(both, names.items(), strict=True):
            for n, pool in enumerate((PARTITION, SHARE)):
                values = [found[name].get((*mix, pool)) for mix in mixes]
                there = [(at, one) for at, one in enumerate(values) if one is not None]
                axes.bar(
                    [at + 0.4 * n for at, _ in there],
                    [one.value for _, one in there],
                    width=0.38,
                    yerr=[
                        [one.value - one.low for _, one in there],
                        [one.high - one.value for _, one in there],
                    ],
                    capsize=3,
                    label=pool,
                )
            labels = [f"{mix}\n{gpus} accelerators" for gpus, mix in mixes]
            axes.set_xticks([at + 0.2 for at in range(len(mixes))], labels, fontsize=8)
            axes.set_ylabel(title)
        both[0].legend()

    return Figure(
        name="side_by_side",
        caption="The same prompts on the same accelerators: a fixed half for each agent, or one "
        "pool that they share by offers.",
        draw=draw,
    )
