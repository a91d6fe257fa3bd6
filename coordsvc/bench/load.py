"""A closed loop of clients against one service: each sends its next turn when the last is done."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import aiohttp

SECOND_NS = 1_000_000_000
OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One request and its end."""

    number: int
    """Which of the requests it was."""
    status: int
    latency_s: float
    body: Any


@dataclass(slots=True)
class Loop:
    """What a closed loop saw."""

    answers: list[Answered] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return len(self.answers) / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def latencies_s(self) -> list[float]:
        """Latencies, in the order of the answers."""
        return [answer.latency_s for answer in self.answers]


async def closed_loop(
    url: str, bodies: Callable[[int], dict[str, Any]], clients: int, turns: int
) -> Loop:
    """Send `turns` chat requests from `clients` clients; `bodies(i)` is the i-th request."""
    seen = Loop()
    numbers = iter(range(turns))
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def client() -> None:
            for number in numbers:
                seen.answers.append(await _ask(session, url, number, bodies(number)))

        started = time.perf_counter_ns()
        await asyncio.gather(*(client() for _ in range(clients)))
        seen.elapsed_s = (time.perf_counter_ns() - started) / SECOND_NS
    return seen


async def _ask(
    session: aiohttp.ClientSession, url: str, number: int, body: dict[str, Any]
) -> Answered:
    started = time.perf_counter_ns()
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        document = await answer.json(content_type=None)
    taken = (time.perf_counter_ns() - started) / SECOND_NS
    return Answered(number=number, status=answer.status, latency_s=taken, body=document)


def percentile(values: Sequence[float], rank: float) -> float:
    """Return the value below which `rank` (0..1) of all lie, by nearest rank; 0.0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, ceil(rank * len(ordered)) - 1)]
