"""A scripted `Turns` that keeps its own book, a clock that is set, and a client at ASGI level."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from coordsvc.core.accounting import (
    PARTS,
    Delta,
    PhaseReport,
    TurnAccount,
    TurnEvent,
    TurnResult,
)
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase, TurnRequest, Verdict
from coordsvc.core.trace import Sampling
from coordsvc.core.units import AgentId, Instant, Micros, NodeId
from coordsvc.ports import TurnTracer
from coordsvc.serving.http.app import build_app
from coordsvc.serving.http.door import Door
from coordsvc.serving.http.keys import Keyring
from coordsvc.settings.http import HttpSettings

MODEL = "coordsvc-test"
CREATED = 1_750_000_000
JSON = {"content-type": "application/json"}


class SetClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.at = 0

    def now(self) -> Instant:
        return Instant(self.at)

    def advance(self, amount_us: int) -> None:
        self.at += amount_us


def phase(
    name: Phase = Phase.RESPOND, agent: AgentId = RESPONDER, *, prompt: int = 30, output: int = 5
) -> PhaseReport:
    return PhaseReport(
        phase=name,
        agent=agent,
        node=NodeId("node-0"),
        agent_us=Micros(12_000),
        engine_call_us=Micros(11_000),
        compute_us=Micros(10_000),
        solo_us=Micros(10_000),
        prompt_tokens=prompt,
        output_tokens=output,
    )


def result(text: str = "Hello there.", **changes: Any) -> TurnResult:
    """A turn of 20 ms, 15 of them solo compute, through three agents."""
    usual: dict[str, Any] = {
        "text": text,
        "finish": "stop",
        "prompt_tokens": 100,
        "output_tokens": 20,
        "reply_tokens": 5,
        "verdict": Verdict(accept=True, score=9, reason="fine"),
        "gave_up": False,
        "account": account(),
        "phases": (
            phase(Phase.PLAN, PLANNER, prompt=20),
            phase(),
            phase(Phase.CHECK, CHECKER, prompt=50),
        ),
    }
    return TurnResult(**(usual | changes))


def account(*, emulated: bool = False) -> TurnAccount:
    parts = {part: Micros(0) for part in PARTS} | {"offer_wait": Micros(5_000)}
    return TurnAccount(
        wall_us=Micros(20_000),
        solo_us=Micros(15_000),
        engine_us=Micros(16_000),
        parts=parts,
        emulated=emulated,
    )


Step = str | TurnResult | Exception | Callable[[], Awaitable[object]]
"""What a scripted turn does next: says, ends, fails, or waits for something."""


@dataclass
class FakeTurns:
    """Plays `script` for every turn, and writes down what it was asked and how each turn ended."""

    script: Iterable[Step] = ("Hello ", "there.", result())
    asked: list[TurnRequest] = field(default_factory=list)
    arrived: list[Instant] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    closed_early: list[str] = field(default_factory=list)
    sent_calls: list[tuple[str, int, int]] = field(default_factory=list)
    unsent_calls: list[str] = field(default_factory=list)
    recent: dict[str, TurnResult] = field(default_factory=dict)

    async def converse(self, request: TurnRequest, arrived: Instant) -> AsyncGenerator[TurnEvent]:
        self.asked.append(request)
        self.arrived.append(arrived)
        self.open.add(request.turn_id)
        try:
            for step in self.script:
                if isinstance(step, str):
                    if request.stream:
                        yield Delta(step)
                elif isinstance(step, TurnResult):
                    self.recent[request.turn_id] = step
                    yield step
                elif isinstance(step, Exception):
                    raise step
                else:
                    await step()
        except (GeneratorExit, asyncio.CancelledError):
            self.closed_early.append(request.turn_id)
            raise
        finally:
            self.open.discard(request.turn_id)

    def find(self, turn_id: str) -> TurnResult | None:
        return self.recent.get(turn_id)

    def sent(self, turn_id: str, serialise_us: Micros, client_wait_us: Micros) -> None:
        self.sent_calls.append((turn_id, serialise_us, client_wait_us))

    def unsent(self, turn_id: str) -> None:
        self.unsent_calls.append(turn_id)

    def nothing_open(self) -> bool:
        return not self.open


async def always_ready() -> str | None:
    return None


@dataclass
class House:
    """The application with everything around it."""

    turns: FakeTurns
    clock: SetClock
    app: FastAPI

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://door")

    async def post(self, body: object, headers: dict[str, str] = JSON) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client() as client:
            return await client.post("/v1/chat/completions", content=content, headers=headers)

    async def get(self, path: str) -> httpx.Response:
        async with self.client() as client:
            return await client.get(path)


def build(
    *script: Step,
    ready: Callable[[], Awaitable[str | None]] = always_ready,
    emulated: bool = False,
    sampling: Sampling | None = None,
    tracer: TurnTracer | None = None,
    keys: Callable[[SetClock], Keyring] | None = None,
    **settings: Any,
) -> House:
    turns = FakeTurns(script) if script else FakeTurns()
    clock = SetClock()
    door = Door(
        model=MODEL,
        created=CREATED,
        clock=clock,
        ready=ready,
        settings=HttpSettings(**settings),
        emulated=emulated,
        sampling=sampling,
        tracer=tracer,
        keys=keys(clock) if keys else None,
    )
    return House(turns, clock, build_app(turns, door))


def ask(text: str = "Hi", **fields: object) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


@dataclass
class RawClient:
    """A client that can hang up, dawdle and trickle: one request, message by message.

    `on_send` runs at each message handed to the transport, and may wait, as a full socket does.
    """

    app: FastAPI
    pieces: list[bytes]
    headers: list[tuple[bytes, bytes]] = field(
        default_factory=lambda: [(b"content-type", b"application/json")]
    )
    on_send: Callable[[MutableMapping[str, Any]], Awaitable[None]] | None = None
    on_read: Callable[[], Awaitable[None]] | None = None
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    got: list[MutableMapping[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        await self.app(self._scope(), self._receive, self._send)

    async def body_so_far(self, wanted: bytes) -> None:
        """Wait until `wanted` has arrived."""
        while wanted not in self.body:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 2)

    @property
    def status(self) -> int:
        return int(self.got[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.got)

    @property
    def complete(self) -> bool:
        return bool(self.got) and self.got[-1].get("more_body") is False

    def header(self, name: bytes) -> bytes | None:
        return dict(self.got[0]["headers"]).get(name)

    def _scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "headers": self.headers,
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "server": ("door", 80),
            "client": ("client", 1),
            "root_path": "",
        }

    async def _receive(self) -> MutableMapping[str, Any]:
        if self.on_read is not None:
            await self.on_read()
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self.on_send is not None:
            await self.on_send(message)
        self.got.append(message)
        self.news.set()


async def until(happened: Callable[[], object]) -> None:
    """Let the others run until something has happened; two seconds at most."""
    async with asyncio.timeout(2):
        while not happened():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def events(body: bytes) -> list[Any]:
    """Return the server-sent events of a whole stream; `[DONE]` as the text it is."""
    assert body.endswith(b"\n\n")
    found = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        assert block.startswith("data: "), block
        data = block.removeprefix("data: ")
        found.append(data if data == "[DONE]" else json.loads(data))
    return found
