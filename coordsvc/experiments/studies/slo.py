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
from coordsvc.core.errors import BadRequest
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
VERDICTS = {True: Verdict.MET, False: Verdict.MISSED, None: Verdict.UNDECIDED}
Steps = Mapping[float, tuple[Interval | None, int]]
"""By load: p95 of W, None if nobody was answered, and how many turns were lost."""


class Slo:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "slo"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for settings that are wrong, or more pools than one."""
        if len(plan.gpus or ()) > 1:
            raise BadRequest("--gpus: the level is looked for on one pool; name one size")
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
        highest, held = _climbed(steps, limit)
        met = True if highest >= wanted else held
        findings = [
            Finding(
                name="highest_load",
                value=highest,
                unit="turns/s",
                wanted=f"at least {wanted}",
                met=met,
                says=f"highest load up to which p95 of W is below {limit * 1_000:.0f} ms, "
                "each interval whole",
            ),
            *(
                Finding(
                    name=f"p95_at_{load:g}",
                    value=one.value if one else None,
                    low=one.low if one else None,
                    high=one.high if one else None,
                    unit="s",
                    says=f"p95 of W at {load:g} turns a second"
                    + (f", {lost} lost" if lost else ""),
                )
                for load, (one, lost) in steps.items()
            ),
        ]
        return Conclusion(
            verdict=VERDICTS[met],
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
    instants = np.sort(chance.uniform(0, told["step_s"], count))
    asked = prompts(count, int(chance.integers(1 << 30)), reply)
    tasks = []
    began = time.perf_counter_ns()
    for at, (question, tokens) in zip(instants, asked, strict=True):
        gone = (time.perf_counter_ns() - began) / SECOND_NS
        await asyncio.sleep(max(0.0, float(at) - gone))  # what was late once is not late for all
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
    except (aiohttp.ClientError, TimeoutError, ValueError):
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


def _climbed(steps: Steps, limit: float) -> tuple[float, bool | None]:
    """Return the highest load that is held with all below it, and whether the next one is.

    False: it is not, since turns were lost or its p95 is above the limit; None: its interval holds
    both answers, or the ladder ended.
    """
    highest = 0.0
    for load, (one, lost) in steps.items():
        if one is None or lost or one.low >= limit:
            return highest, False
        if one.high >= limit:
            return highest, None
        highest = load
    return highest, None


def _steps(rows: Sequence[Row]) -> dict[float, tuple[Interval | None, int]]:
    """Return p95 of W with its interval, and how many turns were lost, by load."""
    walls: dict[float, list[float]] = {float(row["load"] or 0): [] for row in rows}
    lost: dict[float, int] = defaultdict(int)
    for row in rows:
        load = float(row["load"] or 0)
        if isinstance(row["wall_s"], int | float):
            walls[load].append(float(row["wall_s"]))
        else:
            lost[load] += 1
    return {
        load: (
            of(found, lambda drawn: np.quantile(drawn, P95, axis=1)) if found else None,
            lost[load],
        )
        for load, found in sorted(walls.items())
    }


def _curve(steps: Steps, limit: float) -> Figure:
    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        answered = {load: one for load, (one, _) in steps.items() if one is not None}
        loads, values = list(answered), list(answered.values())
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


def _table(rows: Sequence[Row], steps: Steps) -> Table:
    means = {name: by_kind(rows, ("load",), name) for name in ("wall_s", "solo_s", "c_coord_s")}
    told = []
    for load, (one, lost) in steps.items():
        if one is None:
            told.append((f"{load:g}", *["-"] * 5, str(lost)))
            continue
        there = [row for row in rows if row["load"] == load and row["wall_s"] is not None]
        walls, heard = ([float(row[name] or 0) for row in there] for name in ("wall_s", "client_s"))
        told.append(
            (
                f"{load:g}",
                f"{percentile(walls, 0.5):.3f}",
                one.shown(),
                f"{percentile(heard, P95):.3f}",
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
            "p95 at the client, s",
            "compute, s",
            "C_coord, s",
            "lost",
        ),
        rows=tuple(told),
    )
