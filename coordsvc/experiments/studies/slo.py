"""Three agents under a service level: the highest load at which p95 of a turn stays below it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import aiohttp
import numpy as np

from coordsvc.bench.load import OK, SECOND_NS, percentile
from coordsvc.experiments.comparisons import by_kind
from coordsvc.experiments.live import emulated, prompts, served
from coordsvc.experiments.statistics import Interval, of
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
from coordsvc.settings.scaling import POLICY

P95 = 0.95


class Slo:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "slo"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for settings that are wrong."""
        check(settings(plan.parameters, max(plan.gpus or (1,))))

    def cells(self, plan: Plan) -> list[Cell]:
        """Return a ladder of loads for each pool and seed: one service climbs it."""
        assert plan.gpus, "the catalogue names some"
        return [
            Cell(
                key=f"{gpus} accelerators, seed {seed}",
                settings={**plan.parameters, "gpus": gpus, "seed": seed},
            )
            for gpus, seed in product(plan.gpus, plan.seeds)
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Send Poisson load, step by step, and return a row for each turn."""
        told = cell.settings
        with served(settings(told, told["gpus"]), told["gpus"], say, scaled_by=POLICY) as url:
            return asyncio.run(_climb(url, told, say))

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return the highest load that is held, and every step's p95."""
        told = plan.parameters
        limit, wanted = told["p95_limit_s"], told["wanted_per_s"]
        steps = _steps(rows)
        held = [load for load, (one, lost) in steps.items() if one.high < limit and not lost]
        highest = max(held, default=0.0)
        findings = [
            Finding(
                name="highest_load",
                value=highest,
                unit="turns/s",
                wanted=f"at least {wanted}",
                met=highest >= wanted,
                says=f"highest load with p95 of W below {limit * 1_000:.0f} ms, its interval whole",
            ),
            *(
                Finding(
                    name=f"p95_at_{load:g}",
                    value=one.value,
                    low=one.low,
                    high=one.high,
                    unit="s",
                    says=f"p95 of W at {load:g} turns a second"
                    + (f", {lost} lost" if lost else ""),
                )
                for load, (one, lost) in steps.items()
            ),
        ]
        return Conclusion(
            verdict=Verdict.MET if highest >= wanted else Verdict.MISSED,
            says=f"Up to {highest:g} turns a second p95 of a turn stays below "
            f"{limit * 1_000:.0f} ms; wanted was {wanted:g}.",
            findings=tuple(findings),
            figures=(_curve(steps, limit),),
            tables=(_table(rows, steps),),
        )


def settings(told: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """Return a service of three agents that scales between one accelerator and all."""
    demand = {"demand": {"gpu": 1 / told["places"]}}
    return {
        "engine": {**emulated(told), "verdict": told["verdict"]},
        "node": {"capacity": {"gpu": 1.0}},
        "agents": {
            "planner": {**demand, "tokens_max": told["plan_tokens"]},
            "responder": demand,
            "checker": demand,
        },
        "scaling": {
            "replicas_min": 1,
            "replicas_max": gpus,
            "c_coord_s": told["c_coord_s"],
            "window_s": 8.0,
            "sustain_out_s": 4.0,
            "sustain_in_s": 10.0,
            "cool_out_s": 8.0,
            "cool_in_s": 10.0,
            "report_s": 1.0,
            "stale_s": 6.0,
        },
    }


async def _climb(url: str, told: Mapping[str, Any], say: Say) -> list[Row]:
    rows: list[Row] = []
    chance = np.random.default_rng([told["seed"], told["gpus"]])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for load in (told["warm_per_s"], *told["loads"]):
            say(f"{load:g} turns a second for {told['step_s']:g} s")
            turns = await _step(session, url, told, load, chance)
            rows += turns if load != told["warm_per_s"] else []
    return rows


async def _step(
    session: aiohttp.ClientSession,
    url: str,
    told: Mapping[str, Any],
    load: float,
    chance: np.random.Generator,
) -> list[Row]:
    """Send turns at random instants for a while; return a row for each, once all have ended."""
    reply = (told["reply_tokens"], told["reply_tokens"])
    count = max(1, int(chance.poisson(load * told["step_s"])))
    waits = np.diff(np.sort(chance.uniform(0, told["step_s"], count)), prepend=0.0)
    asked = prompts(count, int(chance.integers(1 << 30)), reply)
    tasks = []
    for wait, (question, tokens) in zip(waits, asked, strict=True):
        await asyncio.sleep(float(wait))
        tasks.append(asyncio.create_task(_turn(session, url, question, tokens)))
    about = {"gpus": told["gpus"], "seed": told["seed"], "load": load}
    return [{**about, **row} for row in await asyncio.gather(*tasks)]


async def _turn(session: aiohttp.ClientSession, url: str, question: str, tokens: int) -> Row:
    body = {
        "model": "emulated-8b",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "coordsvc": {"account": True, "mode": "check_then_send"},
    }
    began = time.perf_counter_ns()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            told = await answer.json(content_type=None)
            status = answer.status
    except aiohttp.ClientError:
        told, status = {}, 0
    heard = (time.perf_counter_ns() - began) / SECOND_NS
    account = told["coordsvc"]["account"] if status == OK else {}
    return {
        "status": status,
        "client_s": heard,
        "wall_s": account.get("wall_s"),
        "solo_s": account.get("solo_s"),
        "c_coord_s": account.get("c_coord_s"),
        "output_tokens": account.get("output_tokens"),
    }


def _steps(rows: Sequence[Row]) -> dict[float, tuple[Interval, int]]:
    """Return p95 of W with its interval, and how many turns were lost, by load."""
    walls: dict[float, list[float]] = defaultdict(list)
    lost: dict[float, int] = defaultdict(int)
    for row in rows:
        load = float(row["load"] or 0)
        if isinstance(row["wall_s"], int | float):
            walls[load].append(float(row["wall_s"]))
        else:
            lost[load] += 1
    return {
        load: (of(found, lambda drawn: np.quantile(drawn, P95, axis=1)), lost[load])
        for load, found in sorted(walls.items())
    }


def _curve(steps: Mapping[float, tuple[Interval, int]], limit: float) -> Figure:
    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        loads = list(steps)
        values = [one for one, _ in steps.values()]
        axes.errorbar(
            loads,
            [one.value for one in values],
            yerr=[
                [one.value - one.low for one in values],
                [one.high - one.value for one in values],
            ],
            marker="o",
            capsize=3,
        )
        axes.axhline(limit, color="tab:red", linewidth=1)
        axes.set_xlabel("turns a second")
        axes.set_ylabel("p95 of W, s")
        axes.set_yscale("log")

    return Figure(
        name="p95",
        caption="p95 of a turn's wall time by load, 95 % by bootstrap over turns; the line is the "
        "service level.",
        draw=draw,
    )


def _table(rows: Sequence[Row], steps: Mapping[float, tuple[Interval, int]]) -> Table:
    means = {name: by_kind(rows, ("load",), name) for name in ("wall_s", "solo_s", "c_coord_s")}
    told = []
    for load, (one, lost) in steps.items():
        walls = [float(row["wall_s"] or 0) for row in rows if row["load"] == load]
        told.append(
            (
                f"{load:g}",
                f"{percentile(walls, 0.5):.3f}",
                one.shown(),
                *(f"{means[name][str(load),].value:.3f}" for name in ("solo_s", "c_coord_s")),
                str(lost),
            )
        )
    return Table(
        title="Each step of the load",
        columns=(
            "turns a second",
            "p50 of W, s",
            "p95 of W, s",
            "compute, s",
            "C_coord, s",
            "lost",
        ),
        rows=tuple(told),
    )
