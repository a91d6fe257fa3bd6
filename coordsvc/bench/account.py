"""Whether the account is true: nothing much unexplained, and what is put in is found where it is.

Closing is not proved by the sum, for a remainder always closes. So two questions are asked. Of real
turns on the real small model: how large is the remainder? Of turns into one part of which 200 ms
were put: does that part grow by 200 ms, against turns taken beside them without?
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import aiohttp

from coordsvc.agents.roles import shared
from coordsvc.bench.dialogues import questions
from coordsvc.bench.injection import DELAY_S, PARTS, marked
from coordsvc.bench.load import percentile
from coordsvc.bench.machine import facts
from coordsvc.core.errors import EngineBroken
from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.engines.words import prompt_words
from coordsvc.serving.local import LocalService, Ports

REAL, DELAYED = "real", "delayed"
NOT_BUILT = ("bus", "store")
"""Parts of the account that nothing in the product spends yet."""
QUESTION = "Tell me something about the sea, please, and about the ships that cross it."
ALLOWED_SHARE, ALLOWED_S = 0.05, 0.002
"""The remainder may be 5 % of C_coord and 2 ms."""
OK = 200
DATA = b"data: "
CLIENTS = (1, 4)


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
        doors = service.deploy({"applications": [_real(), _delayed()]}, say)
        say(f"{plan.turns} real turns")
        accounts = asyncio.run(_real_turns(doors[REAL].direct_url, plan.turns))
        say(f"200 ms into each of {len(PARTS)} parts, {plan.rounds} times")
        found = asyncio.run(_injected(doors[DELAYED].direct_url, plan.rounds))
    finally:
        service.stop()
    errors = {part: abs(seconds - DELAY_S) / DELAY_S for part, seconds in found.items()}
    return {
        **unexplained(accounts),
        "injected_error": round(max(errors.values()), 4),
        "injected": {
            part: {"found_ms": round(1_000 * seconds, 2), "error": round(errors[part], 4)}
            for part, seconds in found.items()
        },
        "not_built": list(NOT_BUILT),
        "turns": len(accounts),
        "rounds": plan.rounds,
        "machine": facts(now, ("ray", "openvino-genai")),
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
        "decode_base_us": 5_000,
        "decode_us_per_sequence": 0,
        "prefill_us_per_token": 1_000_000 * DELAY_S / tokens,
        "block_tokens": 1,
        "batch_max": 1,
    }
    agents = {"planner": {"tokens_max": 4}, "checker": {"tokens_max": 4}}
    return _application(DELAYED, "bench.injection", {"engine": engine, "agents": agents})


async def _real_turns(url: str, turns: int) -> list[dict[str, Any]]:
    """Return the accounts of `turns` turns: alone and four at a time, streamed and not."""
    bodies = [
        {
            "model": REAL,
            "messages": [{"role": "user", "content": talk[0]}],
            "max_tokens": 24,
            "stream": number % 2 == 1,
            "coordsvc": {"mode": ("check_then_send", "stream_then_check")[number // 2 % 2]},
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


async def _injected(url: str, rounds: int) -> dict[str, float]:
    """Return for each part by how much it grew, in seconds: the median over pairs of turns."""
    grown: dict[str, list[float]] = {part: [] for part in PARTS}
    async with aiohttp.ClientSession() as session:

        async def parts_s(part: str) -> dict[str, float]:
            text = marked(part, QUESTION)
            body = {"model": DELAYED, "messages": [{"role": "user", "content": text}]}
            account = await _account(session, url, {**body, "max_tokens": 4})
            return dict(account["parts_s"])

        await parts_s("")  # whatever happens only once
        for _ in range(rounds):
            for part in PARTS:
                without = (await parts_s(""))[part]
                grown[part].append((await parts_s(part))[part] - without)
    return {part: median(amounts) for part, amounts in grown.items()}


async def _account(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any]
) -> dict[str, Any]:
    """Return the account of one turn, streamed or not."""
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        if answer.status != OK:
            raise EngineBroken(f"the service answered {answer.status}: {await answer.text()}")
        if not body.get("stream"):
            told = await answer.json(content_type=None)
            return dict(told["coordsvc"]["account"])
        account: dict[str, Any] = {}
        async for line in answer.content:
            if line.startswith(DATA + b"{"):
                account = json.loads(line[len(DATA) :]).get("coordsvc", {}).get("account", account)
        return account
