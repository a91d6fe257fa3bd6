"""Two agents, then the checker beside them: what a third costs on the same accelerators."""

import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from coordsvc.experiments.comparisons import against, by_kind, parts_figure, table
from coordsvc.experiments.live import asked_of, emulated, figures, prompts, served
from coordsvc.experiments.statistics import Interval
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

TWO, THREE = "two agents", "three agents"
KIND = {"accelerators": "gpus", "agents": "agents", "load": "load"}


class ThirdAgent:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "third-agent"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for settings that are wrong."""
        for agents in (TWO, THREE):
            check(settings(plan.parameters, agents))

    def cells(self, plan: Plan) -> list[Cell]:
        """Return a run for each seed, with two and with three agents, alone and under full load."""
        assert plan.gpus, "the catalogue names some"
        return [
            Cell(
                key=f"{agents}, {clients} clients, {gpus} accelerators, seed {seed}",
                settings={
                    **plan.parameters,
                    "agents": agents,
                    "clients": clients,
                    "gpus": gpus,
                    "seed": seed,
                },
            )
            for gpus, seed, clients, agents in product(
                plan.gpus, plan.seeds, plan.parameters["clients"], (TWO, THREE)
            )
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Send all prompts through these agents."""
        told = cell.settings
        busy = told["clients"] > 1
        asked = prompts(
            told["prompts"] if busy else told["prompts_alone"],
            told["seed"],
            tuple(told["reply_tokens"]),
        )
        with served(
            settings(told, told["agents"]), told["gpus"], say, replicas=told["gpus"]
        ) as url:
            load = asked_of(url, asked, told["clients"], time.perf_counter_ns)
        about = {
            "agents": told["agents"],
            "load": f"{told['clients']} at a time",
            "gpus": told["gpus"],
            "seed": told["seed"],
            "lost": load.lost,
        }
        share = dict.fromkeys(("planner", "responder", "checker"), 1 / told["places"])
        return figures(load, told["gpus"], share, about)

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return S_measured before and after, and C_coord by part."""
        del plan
        pools = dict.fromkeys((row["gpus"], str(row["load"])) for row in rows)
        findings: list[Finding] = []
        said: list[str] = []
        for gpus, load in pools:
            there = [row for row in rows if (row["gpus"], row["load"]) == (gpus, load)]
            where = f"{load}, {gpus} accelerators"
            for name, says in (
                ("s_measured", "S_measured with three agents against two"),
                ("c_coord_s", "C_coord of a turn with three agents against two"),
                ("turns_per_s", "turns a second with three agents against two"),
            ):
                found = against(there, "agents", THREE, TWO, name)
                if found is not None:
                    findings.append(_finding(f"{name} {where}", f"{says}, {where}", found))
                    if name != "turns_per_s":
                        said.append(f"{says} is {found.shown()} ({where})")
        return Conclusion(
            verdict=Verdict.SHOWN,
            says="; ".join(said) + "." if said else "One of the two was not measured.",
            findings=tuple(findings),
            figures=(
                _measured(rows),
                parts_figure(
                    rows,
                    list(KIND.values()),
                    "C_coord of a turn by part; under load, waiting for an offer is waiting for "
                    "capacity.",
                ),
            ),
            tables=(table(rows, KIND),),
        )


def settings(told: Mapping[str, Any], agents: str) -> dict[str, Any]:
    """Return a service of two agents or of three, each phase one place of an accelerator."""
    demand = {"demand": {"gpu": 1 / told["places"]}}
    return {
        "engine": {**emulated(told), "verdict": told["verdict"]},
        "node": {"capacity": {"gpu": 1.0}},
        "agents": {
            "planner": {**demand, "tokens_max": told["plan_tokens"]},
            "responder": demand,
            "checker": demand if agents == THREE else None,
        },
    }


def _finding(name: str, says: str, found: Interval) -> Finding:
    return Finding(name=name, value=found.value, low=found.low, high=found.high, says=says)


def _measured(rows: Sequence[Row]) -> Figure:
    measured = by_kind(rows, list(KIND.values()), "s_measured")
    ideal = by_kind(rows, list(KIND.values()), "s_ideal")

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        keys = list(measured)
        values = [measured[key] for key in keys]
        axes.bar(
            range(len(keys)),
            [one.value for one in values],
            yerr=[
                [one.value - one.low for one in values],
                [one.high - one.value for one in values],
            ],
            capsize=4,
        )
        axes.plot(
            range(len(keys)), [ideal[key].value for key in keys], "_", color="k", markersize=40
        )
        axes.set_xticks(range(len(keys)), ["\n".join(key) for key in keys])
        axes.set_ylabel("S_measured (line: ideal)")

    return Figure(
        name="s_measured",
        caption="S_measured before and after the checker was added, beside its ideal.",
        draw=draw,
    )
