"""Whether the account is true: nothing much unexplained, and what is put in is found where it is.

Closing is not proved by the sum, for a remainder always closes. So three questions are asked. Of
real turns on the real small model: how large is the remainder? Of turns into one part of which
200 ms were put: does that part grow by 200 ms, against turns taken beside them without? Of turns
whose engines do nothing: is the part `call` what calls cost that do nothing?
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import aiohttp
from ray import serve

from coordsvc.agents.roles import shared
from coordsvc.bench.dialogues import questions
from coordsvc.bench.injection import (
    BATCH,
    DELAY_S,
    POINTS,
    REPLY_TOKENS,
    STEP_US,
    marked,
)
from coordsvc.bench.load import percentile
from coordsvc.bench.machine import facts
from coordsvc.bench.noop import ASKED
from coordsvc.core.errors import EngineBroken
from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.core.units import SECOND
from coordsvc.engines.words import prompt_words
from coordsvc.serving.local import LocalService, Ports

REAL, DELAYED, NOOP = "real", "delayed", "noop"
NOT_BUILT = ("bus", "store")
"""Parts of the account that nothing in the product spends yet."""
QUESTION = "Tell me something about the sea, please, and about the ships that cross it."
ALLOWED_SHARE, ALLOWED_S = 0.05, 0.002
"""The remainder may be 5 % of C_coord and 2 ms."""
OK = 200
DATA = b"data: "
CLIENTS = (1, 4)
MODES = ({"mode": "check_then_send"}, {"mode": "stream_then_check"})
AGENTS = ("Planner", "Responder", "Checker")
NOOP_TURNS = 100
CHECK_LOOKS_MAX, CHECK_POLL_S = 3_000, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    turns: int = 100
    rounds: int = 11
    """Pairs of turns for each part: with and without."""


def measure(plan: Plan, now: datetime, say: Callable[[str], None]) -> dict[str, object]:
    """Return what is unexplained in real turns, and how far off each injected part is found."""
    service = LocalService(Ports(http=None, metrics=0), cpus=8)
    try:
        service.start(say)
        doors = service.deploy({"applications": [_real(), _delayed(), _noop()]}, say)
        say(f"{plan.turns} real turns")
        accounts = asyncio.run(_real_turns(doors[REAL].direct_url, plan.turns))
        say(f"200 ms at each of {len(POINTS)} points, {plan.rounds} times")
        grown = asyncio.run(_injected(doors[DELAYED].direct_url, plan.rounds))
        say("calls that do nothing")
        calls = asyncio.run(_noop_calls(doors[NOOP].direct_url))
    finally:
        service.stop()
    return {
        **unexplained(accounts),
        **injected(grown),
        **calls,
        "not_built": list(NOT_BUILT),
        "turns": len(accounts),
        "rounds": plan.rounds,
        "machine": facts(now, ("ray", "openvino-genai")),
    }


def injected(grown: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """Return what was found of the delay at each point; a part stands for its worst point.

    `grown`: by how much the part of each point grew, in seconds, for each pair of turns.
    """
    found = {point: median(amounts) for point, amounts in grown.items()}
    errors = {point: abs(seconds - DELAY_S) / DELAY_S for point, seconds in found.items()}
    worst = {
        part: max((point for point in found if POINTS[point] == part), key=errors.__getitem__)
        for part in dict.fromkeys(POINTS[point] for point in found)
    }

    def shown(point: str) -> dict[str, float]:
        return {"found_ms": round(1_000 * found[point], 2), "error": round(errors[point], 4)}

    return {
        "injected_error": round(max(errors.values()), 4),
        "injected": {part: shown(point) for part, point in worst.items()},
        "injected_points": {point: shown(point) for point in found},
    }


def unexplained(accounts: Sequence[dict[str, Any]]) -> dict[str, object]:
    """Return how large the remainder is, and whether p95 of it stays within what is allowed."""
    left = [abs(one["parts_s"]["unexplained"]) for one in accounts]
    over = [
        abs(one["parts_s"]["unexplained"]) - ALLOWED_SHARE * one["c_coord_s"] - ALLOWED_S
        for one in accounts
    ]
    parts = accounts[0]["parts_s"]
    return {
        "unexplained_ok": percentile(over, 0.95) <= 0,
        "unexplained_p95_ms": round(1_000 * percentile(left, 0.95), 3),
        "c_coord_p50_ms": round(1_000 * median(one["c_coord_s"] for one in accounts), 2),
        "wall_p50_ms": round(1_000 * median(one["wall_s"] for one in accounts), 2),
        "parts_p50_ms": {
            part: round(1_000 * median(one["parts_s"][part] for one in accounts), 3)
            for part in parts
        },
    }


def _application(name: str, build: str, args: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": f"coordsvc.{build}:build",
        "args": {"served_model": name, **args},
    }


def _real() -> dict[str, Any]:
    return _application(REAL, "serving.app", {"engine": {"kind": "openvino"}})


def _delayed() -> dict[str, Any]:
    """Return an application in which a prefix that is gone costs just the delay."""
    conversation = (Message("user", marked("", QUESTION)),)
    common = shared(conversation)
    _, tokens = prompt_words(
        GenerationRequest(messages=common, max_new_tokens=1, shared_messages=len(common))
    )
    engine = {
        "kind": "emulated",
        "start_us": 0,
        "decode_base_us": 0,
        "decode_us_per_sequence": STEP_US,
        "prefill_us_per_token": 1_000_000 * DELAY_S / tokens,
        "block_tokens": 1,
        "batch_max": BATCH,
    }
    agents = {"planner": {"tokens_max": 1}, "checker": {"tokens_max": 1}}
    # a desk whose engine's death was played drops what it held there, until that runs out
    node = {"capacity": {"cpu": 256, "bandwidth_gbps": 256}}
    args = {"engine": engine, "agents": agents, "node": node}
    return _application(DELAYED, "bench.injection", args)


def _noop() -> dict[str, Any]:
    return _application(NOOP, "bench.noop", {"engine": {"kind": "scripted"}})


async def _real_turns(url: str, turns: int) -> list[dict[str, Any]]:
    """Return the accounts of `turns` turns: alone and four at a time, streamed and not."""
    bodies = [
        {
            "model": REAL,
            "messages": [{"role": "user", "content": talk[0]}],
            "max_tokens": 24,
            "stream": number % 2 == 1,
            "coordsvc": MODES[number // 2 % 2],
        }
        for number, talk in enumerate(questions(None, turns + CLIENTS[-1]))
    ]
    warm, bodies = bodies[turns:], bodies[:turns]
    accounts: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session:
        await _ask_all(session, url, warm, CLIENTS[-1])
        half = len(bodies) // 2
        for clients, some in zip(CLIENTS, (bodies[:half], bodies[half:]), strict=True):
            accounts += await _ask_all(session, url, some, clients)
    return accounts


async def _ask_all(
    session: aiohttp.ClientSession, url: str, bodies: Iterable[dict[str, Any]], clients: int
) -> list[dict[str, Any]]:
    left = iter(bodies)
    accounts: list[dict[str, Any]] = []

    async def client() -> None:
        accounts.extend([await _account(session, url, body) for body in left])

    await asyncio.gather(*(client() for _ in range(clients)))
    return accounts


async def _injected(url: str, rounds: int) -> dict[str, list[float]]:
    """Return by how much the part of each point grew, in seconds, for each pair of turns."""
    grown: dict[str, list[float]] = {point: [] for point in POINTS}
    async with aiohttp.ClientSession() as session:

        async def parts_s(point: str, turn: int) -> dict[str, float]:
            text = marked(point, QUESTION)
            body = {"model": DELAYED, "messages": [{"role": "user", "content": text}]}
            more = {
                "max_tokens": REPLY_TOKENS,
                "stream": turn % 2 == 1,
                "coordsvc": MODES[turn % 2],
            }
            account = await _account(session, url, {**body, **more})
            return dict(account["parts_s"])

        for turn, point in enumerate(["", "", *POINTS]):  # whatever happens only once
            await parts_s(point, turn)
        for turn in range(rounds):
            for point, part in POINTS.items():
                without = (await parts_s("", turn))[part]
                grown[point].append((await parts_s(point, turn))[part] - without)
    return grown


async def _noop_calls(url: str) -> dict[str, object]:
    """Return the part `call` of turns that do nothing, over what calls take that do nothing."""
    parts: list[float] = []
    async with aiohttp.ClientSession() as session:
        for turn in range(2 * NOOP_TURNS):
            text = QUESTION if turn % 2 else f"{QUESTION} {ASKED}"
            body = {"model": NOOP, "messages": [{"role": "user", "content": text}]}
            account = await _account(session, url, body)
            if turn % 2:
                parts.append(account["parts_s"]["call"])
    to_agents = await _taken("Ingress")
    to_engines = [spent for name in AGENTS for spent in await _taken(name)]
    noop_s = len(AGENTS) * (median(to_agents) + median(to_engines)) / SECOND
    return {
        "call_vs_noop": round(median(parts) / noop_s, 3),
        "call_ms": round(1_000 * median(parts), 3),
        "noop_calls_ms": round(1_000 * noop_s, 3),
    }


async def _taken(deployment: str) -> list[int]:
    """Return how long the calls took that did nothing and left from there, in microseconds."""
    handle: Any = serve.get_deployment_handle(deployment, app_name=NOOP)
    taken: list[int] = await handle.options(method_name="taken").remote()
    return taken


async def _account(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any]
) -> dict[str, Any]:
    """Return the account of one turn, once a check after its reply is over, too."""
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        if answer.status != OK:
            raise EngineBroken(f"the service answered {answer.status}: {await answer.text()}")
        if not body.get("stream"):
            return dict((await answer.json(content_type=None))["coordsvc"]["account"])
        extra: dict[str, Any] = {}
        async for line in answer.content:
            if line.startswith(DATA + b"{"):
                extra = json.loads(line[len(DATA) :]).get("coordsvc", extra)
    if body["coordsvc"] == MODES[1]:
        await _checked(session, f"{url}/v1/turns/{extra['turn_id']}")
    return dict(extra["account"])


async def _checked(session: aiohttp.ClientSession, turn: str) -> None:
    """Return once the turn's check has been run, so that the next turn is not beside it."""
    for _ in range(CHECK_LOOKS_MAX):
        async with session.get(turn) as answer:
            if (await answer.json())["coordsvc"]["account"]["post_reply_s"]:
                return
        await asyncio.sleep(CHECK_POLL_S)
    raise EngineBroken(f"the check of {turn} did not end")
