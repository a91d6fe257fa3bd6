"""`coordsvc bench overhead`: what offers cost a turn whose engines cost nothing.

The same three-agent chain runs in several structures on one Ray, side by side. Each round measures
each of them at each concurrency, in slices that take turns, so that whatever slows the machine
meanwhile slows all of them; a slice's first turns warm it up and do not count. What is told are
the medians, over rounds, of ratios within a round.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coordsvc.bench.load import Loop, closed_loop, percentile
from coordsvc.bench.machine import facts
from coordsvc.bench.pairs import middle, ratios, rotated, shown
from coordsvc.core.errors import EngineBroken
from coordsvc.serving.local import LocalService, Ports, Running

OFFERS, NO_DESK, PLAIN, PROXY = "offers", "no_desk", "plain", "proxy"
BUILDERS = {
    OFFERS: "coordsvc.serving.app:build",
    NO_DESK: "coordsvc.bench.variants:no_desk",
    PLAIN: "coordsvc.bench.variants:plain",
}
TURNS = {1: 96, 8: 240, 32: 320}
"""Turns of a measured cell, by concurrency: one to three seconds on two slow cores."""
SLICES = {1: 12, 8: 2, 32: 2}
"""Into how many slices a cell is cut. The more clients, the more of a slice is its beginning and
its end, when not all of them are at it."""
WARM_TURNS = 2
"""Turns of each client before a slice is measured: offers at hand again, caches warm."""
CPUS_EACH = 2
"""What Serve is told that each variant needs, so that all are placed; nothing is pinned to cores.
"""
SCRIPT = "scripted"
ARGS: dict[str, Any] = {
    "engine": {"kind": "scripted", "model": SCRIPT, "batch_max": 1024},
    # far more bundles than phases at once: an offer is never scarce, so its price alone shows
    "node": {"capacity": {"cpu": 512, "bandwidth_gbps": 512}},
}
OK = 200


@dataclass(frozen=True, slots=True)
class Cell:
    """One structure at one concurrency in one round."""

    p50_ms: float
    p95_ms: float
    per_second: float


Cells = dict[tuple[str, int], list[Cell]]
"""By variant and concurrency, a cell for each round."""


def measure(
    rounds: int, variants: Sequence[str], now: datetime, say: Callable[[str], None]
) -> dict[str, object]:
    """Return what the variants cost, the offers' figures against each of the others'."""
    service = LocalService(Ports(http=None, metrics=0), cpus=CPUS_EACH * len(BUILDERS))
    try:
        service.start(say)
        found = service.deploy(_config(variants), say)
        cells = asyncio.run(_rounds(rounds, _doors(found, variants), say))
    finally:
        service.stop()
    return {**summary(cells, variants), "rounds": rounds, "machine": facts(now)}


def summary(cells: Cells, variants: Sequence[str]) -> dict[str, object]:
    """Return ratios and absolute figures of what was measured."""
    told: dict[str, object] = {}
    for other in (name for name in variants if name != OFFERS):
        suffix = "" if other == NO_DESK else f"_{other}"
        told |= shown(f"p50_ratio{suffix}", _ratios(cells, other, 1, lambda cell: cell.p50_ms))
        told |= shown(
            f"throughput_ratio{suffix}", _ratios(cells, other, 8, lambda cell: cell.per_second)
        )
        told |= shown(
            f"throughput_ratio{suffix}_at_32",
            _ratios(cells, other, 32, lambda cell: cell.per_second),
        )
    for name in variants:
        told["absolute" if name == OFFERS else f"absolute_{name}"] = _absolute(cells, name)
    return told


def _config(variants: Sequence[str]) -> dict[str, Any]:
    wanted = [name for name in BUILDERS if name in variants]
    return {
        "applications": [
            {
                "name": name,
                "route_prefix": f"/{name}",
                "import_path": BUILDERS[name],
                "args": ARGS,
            }
            for name in wanted
        ]
    }


def _doors(found: Mapping[str, Running], variants: Sequence[str]) -> dict[str, str]:
    """Return where each variant is asked: at its ingress, or for one at Serve's proxy."""
    return {
        name: found[OFFERS].url if name == PROXY else found[name].direct_url for name in variants
    }


async def _rounds(rounds: int, doors: Mapping[str, str], say: Callable[[str], None]) -> Cells:
    cells: Cells = defaultdict(list)
    for door in doors.values():
        await _ask(door, 8, 160)
    for turn in range(rounds):
        for clients in TURNS:
            for name, seen in (await _round(doors, clients, turn)).items():
                cells[name, clients].append(_cell(seen))
        say(f"round {turn + 1} of {rounds}")
    return cells


async def _round(doors: Mapping[str, str], clients: int, turn: int) -> dict[str, Loop]:
    """Return what each variant did at one concurrency, slice by slice in turns."""
    seen = {name: Loop() for name in doors}
    slices = SLICES[clients]
    for position in range(slices):
        for name in rotated(list(doors), turn + position):
            await _ask(doors[name], clients, WARM_TURNS * clients)
            part = await _ask(doors[name], clients, TURNS[clients] // slices)
            seen[name].answers += part.answers
            seen[name].elapsed_s += part.elapsed_s
    return seen


async def _ask(door: str, clients: int, turns: int) -> Loop:
    seen = await closed_loop(door, _body, clients, turns)
    wrong = [answer for answer in seen.answers if answer.status != OK]
    if wrong:
        raise EngineBroken(f"{door} answered {wrong[0].status}: {str(wrong[0].body)[:200]}")
    return seen


def _body(number: int) -> dict[str, Any]:
    question = f"What is so good about the number {number}?"
    return {"model": SCRIPT, "messages": [{"role": "user", "content": question}]}


def _cell(seen: Loop) -> Cell:
    return Cell(
        p50_ms=1_000 * percentile(seen.latencies_s, 0.5),
        p95_ms=1_000 * percentile(seen.latencies_s, 0.95),
        per_second=seen.per_second,
    )


def _ratios(cells: Cells, other: str, clients: int, figure: Callable[[Cell], float]) -> list[float]:
    return ratios(
        [figure(cell) for cell in cells[OFFERS, clients]],
        [figure(cell) for cell in cells[other, clients]],
    )


def _absolute(cells: Cells, name: str) -> dict[str, object]:
    return {
        str(clients): {
            "p50_ms": middle([cell.p50_ms for cell in cells[name, clients]], 2),
            "p95_ms": middle([cell.p95_ms for cell in cells[name, clients]], 2),
            "turns_per_s": middle([cell.per_second for cell in cells[name, clients]], 1),
        }
        for clients in TURNS
    }
