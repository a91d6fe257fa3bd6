"""Clients of one service that keep asking, and note word by word what they were told, and when."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from coordsvc.bench.load import SECOND_NS

DATA = b"data: "
DONE = b"[DONE]"
OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One turn to ask, and the reply that is right."""

    body: dict[str, Any]
    expected: str

    @property
    def streamed(self) -> bool:
        """Whether the reply is wanted piece by piece."""
        return bool(self.body.get("stream"))


@dataclass(slots=True, kw_only=True)
class Told:
    """One turn, as its client saw it; instants are seconds on this process's own clock."""

    question: Question
    asked_s: float
    ended_s: float | None = None
    """None while it is under way."""
    status: int | None = None
    pieces_s: list[float] = field(default_factory=list)
    """When each piece of a streamed reply came."""
    text: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    """Ours beside OpenAI's: the account, the turn's id."""
    fault: str = ""
    """What went wrong, in words; nothing if nothing did."""

    @property
    def right(self) -> bool:
        """Whether a complete reply came, word for word as it should be."""
        return self.status == OK and not self.fault and self.text == self.question.expected

    @property
    def latency_s(self) -> float:
        """How long it took; 0.0 while it is under way."""
        return 0.0 if self.ended_s is None else self.ended_s - self.asked_s

    def midway(self, at_s: float) -> bool:
        """Tell whether `at_s` lies between two pieces of the reply."""
        return bool(self.pieces_s) and self.pieces_s[0] < at_s < self.pieces_s[-1]

    @property
    def attempts_lost(self) -> bool:
        """Whether the turn's own account says that something died under it."""
        account = self.extra.get("account", {})
        again = any(phase["attempts"] > 1 for phase in account.get("phases", ()))
        return again or account.get("parts_s", {}).get("retry", 0) > 0


@dataclass(slots=True)
class Crowd:
    """Some clients in a closed loop, each pausing a little between two turns."""

    url: str
    ask: Callable[[int], Question]
    """The n-th turn."""
    pause_s: float
    turns: list[Told] = field(default_factory=list)
    """In the order in which they were asked."""
    _turns_max: int | None = None

    async def keep_asking(self, clients: int) -> None:
        """Ask until `stop`; return when the last turn has ended."""
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            await asyncio.gather(*(self._client(session) for _ in range(clients)))

    def stop(self, after: int = 0) -> None:
        """Ask nothing more, once `after` turns have been asked."""
        self._turns_max = after

    def midway(self) -> int:
        """Return how many streamed replies have begun and not ended."""
        return sum(1 for told in self.turns if told.pieces_s and told.ended_s is None)

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while self._turns_max is None or len(self.turns) < self._turns_max:
            told = Told(question=self.ask(len(self.turns)), asked_s=clock_s())
            self.turns.append(told)
            try:
                await _converse(session, self.url, told)
            except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
                told.fault = f"{type(error).__name__}: {error}"
            finally:
                told.ended_s = clock_s()
            await asyncio.sleep(self.pause_s)


def clock_s() -> float:
    """Return the present instant."""
    return time.perf_counter_ns() / SECOND_NS


async def _converse(session: aiohttp.ClientSession, url: str, told: Told) -> None:
    path = f"{url}/v1/chat/completions"
    async with session.post(path, json=told.question.body) as answer:
        told.status = answer.status
        if answer.status != OK or not told.question.streamed:
            _take_whole(told, await answer.json(content_type=None))
            return
        ended = False
        async for line in answer.content:
            if line.startswith(DATA):
                data = line[len(DATA) :].strip()
                ended = ended or data == DONE
                if data != DONE:
                    _take_chunk(told, json.loads(data))
        if not ended and not told.fault:
            told.fault = "the stream broke off"


def _take_whole(told: Told, document: Any) -> None:
    if "error" in document:
        told.fault = str(document["error"]["message"])
        return
    told.text = document["choices"][0]["message"]["content"]
    told.extra = document.get("coordsvc", {})


def _take_chunk(told: Told, chunk: Any) -> None:
    if "error" in chunk:
        told.fault = str(chunk["error"]["message"])
        return
    told.extra = chunk.get("coordsvc", told.extra)
    for choice in chunk["choices"]:
        if piece := choice["delta"].get("content"):
            told.text += piece
            told.pieces_s.append(clock_s())
