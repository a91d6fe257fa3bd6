"""Nothing that users say, and no key, is in what the service leaves behind: all in one process.

The door, the conductor, three agents with desks, the allocator with its decision log and an engine
are the real ones; only Ray is not there, and no model.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest

from coordsvc.agents.conductor import Conductor
from coordsvc.agents.roles import ROLES, Budget
from coordsvc.agents.worker import Worker
from coordsvc.clock import MonotonicClock
from coordsvc.core.accounting import PhaseEvent, PhaseReport, TurnResult
from coordsvc.core.desk import Desk
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase, PhaseWork, Rules
from coordsvc.core.errors import BadRequest, CoordinationError, EngineBroken, GrantRefused
from coordsvc.core.generation import Chunk, GenerationRequest
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.spans import Named
from coordsvc.core.terms import DeskTerms, Terms
from coordsvc.core.trace import Sampling
from coordsvc.core.units import AgentId, DeskId, OfferId
from coordsvc.ports import Engine
from coordsvc.serving.agent_replica import AgentReplica
from coordsvc.serving.allocator_actor import AllocatorActor
from coordsvc.serving.desk_link import LinkedDesk
from coordsvc.serving.engine_replica import EngineReplica
from coordsvc.serving.http.app import build_app
from coordsvc.serving.http.door import Door
from coordsvc.serving.http.keys import Keyring
from coordsvc.serving.pool import Failure, NodeCard
from coordsvc.settings.http import HttpSettings
from coordsvc.settings.keys import KeySettings
from coordsvc.telemetry.decision_log import DecisionLog, DecisionLogTerms
from coordsvc.telemetry.metrics import Metrics
from coordsvc.telemetry.trace_terms import TraceTerms
from coordsvc.telemetry.tracing import TurnTraces
from tests.fakes import FIRST, N1, SLOT, FakeEngine, Never, hang
from tests.fakes import told as report
from tests.unit.serving.http.fakes import MODEL, RawClient, always_ready, ask, until

WORD = "xyzzy-what-nobody-may-read"
"""In every message, every plan, every reply, and in the words of every error of a library."""
KEY, WRONG = "ck-a-key-of-somebody", "ck-another-key-of-somebody"
SECRETS = (WORD, KEY, WRONG)
AGENTS = (PLANNER, RESPONDER, CHECKER)


def raised(error: Exception) -> Exception:
    """Return the error as it comes from within: another led to it."""
    error.__cause__ = LookupError(WORD)
    return error


class Calls:
    """Calls between replicas, without Serve: an error travels as a value, as it does there."""

    def __init__(self, engine: EngineReplica) -> None:
        self._engine = engine
        self.agents: dict[AgentId, AgentReplica] = {}

    async def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        del stream
        async for answer in self._engine.stream(request, grant):
            if isinstance(answer, Refusal):
                raise GrantRefused(answer.value)
            if isinstance(answer, Failure):
                raise answer.error
            yield answer

    async def work(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent]:
        replica = self.agents[work.run.agent]
        if not work.stream:
            answer = await replica.work(work)
            if isinstance(answer, Failure):
                raise answer.error
            yield answer
            return
        async for event in replica.stream(work):
            if isinstance(event, Failure):
                raise event.error
            yield event


class Link:
    """The port `EngineLink`, without Serve."""

    def __init__(self, engine: EngineReplica) -> None:
        self.fence, self.watch, self.preempt = engine.fence, engine.watch, engine.preempt
        self._void = engine.void

    async def void(self, offer_id: OfferId) -> bool:
        return (await self._void((offer_id,)))[offer_id]

    async def left(self) -> None:
        await hang()


class Counting:
    """The port `TurnRecorder`, into the real metrics and the real log."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def answered(self, result: TurnResult) -> None:
        self._metrics.turn(result)

    def checked_late(self, phases: tuple[PhaseReport, ...]) -> None:
        self._metrics.turns.phase(phases[-1])

    def check_lost(self, turn_id: str, error: CoordinationError) -> None:
        logging.getLogger("coordsvc").warning("the check of %s was lost: %s", turn_id, error)


class Service:
    """All of it."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        clock = MonotonicClock()
        self.folder = folder
        self.metrics = Metrics()
        self.spans = InMemorySpanExporter()
        self.decisions = DecisionLog(
            DecisionLogTerms(folder=folder / "decisions", file_bytes_max=1 << 20, files_max=4)
        )
        self.allocator = AllocatorActor(
            FIRST,
            Terms(),
            clock,
            self._link,
            lambda snapshot: self.metrics.pool(clock.now(), snapshot) and None,
            self.decisions,
        )
        slots = Resources(cpu_milli=4_000)
        self.engine = EngineReplica(engine, N1, slots, {}, self.allocator, clock)
        self._calls = Calls(self.engine)
        self._desks = [self._employ(agent, clock) for agent in AGENTS]
        self.tracer = TurnTraces(
            TraceTerms(endpoint="http://nowhere/v1/traces", sampling=Sampling.of(1.0)),
            Named(model=MODEL, engine_model="fake-1", engine="fake"),
            clock,
            lambda count: None,
            self.spans,
        )
        turns = Conductor(
            self._calls, Rules(agents=AGENTS), clock, Counting(self.metrics), tracer=self.tracer
        )
        keys = {"keys": [{"name": "somebody", "sha256": sha256(KEY.encode()).hexdigest()}]}
        (folder / "keys.yaml").write_text(yaml.safe_dump(keys))
        self.app = build_app(
            turns,
            Door(
                model=MODEL,
                created=0,
                clock=clock,
                ready=always_ready,
                settings=HttpSettings(),
                keys=Keyring(
                    KeySettings(file=str(folder / "keys.yaml")),
                    clock,
                    lambda reason: self.metrics.turns.refused({reason: 1}),
                ),
                sampling=Sampling.of(1.0),
                tracer=self.tracer,
            ),
        )

    def _link(self, card: NodeCard) -> "Link":
        del card
        return Link(self.engine)

    def _employ(self, agent: AgentId, clock: MonotonicClock) -> LinkedDesk:
        desk = LinkedDesk(
            Desk(desk=DeskId(f"{agent}-1"), agent=agent, bundle=SLOT, terms=DeskTerms()),
            self.allocator,
            clock,
        )
        demand = dict.fromkeys(Phase, SLOT)
        worker = Worker(ROLES[agent], demand, Budget(), desk, self._calls, clock)
        self._calls.agents[agent] = AgentReplica(lambda tenant: worker)
        return desk

    async def open(self) -> None:
        self.allocator.start()
        await self.engine.start()
        for desk in self._desks:
            desk.start()
        await until(self.engine_joined)

    def engine_joined(self) -> bool:
        return bool(self.allocator._core.ledger.capacity)

    async def close(self) -> None:
        for desk in self._desks:
            desk.stop()
        await self.engine.stop()
        self.tracer.stop()
        await asyncio.to_thread(self.decisions.close)

    async def post(self, body: Any, key: str | None = KEY) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with httpx.AsyncClient(
            transport=transport, base_url="http://door", headers=headers
        ) as client:
            return await client.post("/v1/chat/completions", content=content)

    async def left_behind(self) -> dict[str, str]:
        """End it; return all that it wrote, by what it is."""
        status = str(await self.allocator.status())
        explained = str([await self.allocator.explain(agent=agent) for agent in AGENTS])
        await self.close()
        written = {str(path): path.read_text() for path in (self.folder / "decisions").rglob("*.*")}
        spans = [span.to_json() for span in self.spans.get_finished_spans()]
        return {
            "metrics": generate_latest(self.metrics.registry).decode(),
            "spans": "\n".join(spans),
            "status": status,
            "explanations": explained,
            **written,
        }


Opening = Callable[..., Awaitable[Service]]


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What anybody logs, at any level."""
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.fixture
async def open_service(tmp_path: Path) -> Opening:
    async def opened(*script: Any) -> Service:
        service = Service(tmp_path, FakeEngine(script))
        await service.open()
        return service

    return opened


def nothing_told(
    caplog: pytest.LogCaptureFixture, left: dict[str, str], *answers: httpx.Response
) -> None:
    left = left | {"log": caplog.text}
    left |= {f"answer {n}": answer.text for n, answer in enumerate(answers)}
    for place, text in left.items():
        for secret in SECRETS:
            assert secret not in text, place


@pytest.mark.parametrize("mode", ["check_then_send", "stream_then_check"])
async def test_of_good_turns_nothing_is_left(
    open_service: Opening, everything: pytest.LogCaptureFixture, mode: str
) -> None:
    service = await open_service(f"All is {WORD}.", report())
    extension = {"mode": mode}
    whole = await service.post(ask(WORD, coordsvc=extension))
    streamed = await service.post(ask(WORD, coordsvc=extension, stream=True))
    assert whole.status_code == streamed.status_code == 200
    assert WORD in whole.text, "the one who asked is answered"
    left = await service.left_behind()
    assert "coordsvc_turns_total{outcome=" in left["metrics"]
    assert "gen_ai." in left["spans"]
    assert any("Accepted" in text for place, text in left.items() if "decisions" in place)
    nothing_told(everything, left)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"messages": "{WORD}'.encode(),
        f'{{"model": "{MODEL}", "messages": "{WORD}"}}'.encode(),
        f'{{"model": "{MODEL}", "messages": [{{"role": "{WORD}", "content": "x"}}]}}'.encode(),
        ask(WORD, temperature=WORD),
        ask(WORD, max_tokens=-1),
        ask(WORD, tools=[{"type": WORD}]),
        ask(WORD, whim=WORD),
        ask(WORD, stop=[WORD] * 9),
        ask(WORD, metadata={"a": [WORD]}),
        f"{WORD}\ud800".encode("utf-8", "surrogatepass"),
    ],
)
async def test_of_refused_requests_nothing_is_left(
    open_service: Opening, everything: pytest.LogCaptureFixture, body: Any
) -> None:
    service = await open_service(WORD, report())
    refused = await service.post(body)
    assert refused.status_code == 400
    nothing_told(everything, await service.left_behind(), refused)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(WORD), 500),
        (raised(RuntimeError(WORD)), 500),
        (raised(EngineBroken("its thread died")), 503),
        (BadRequest("the grammar is too large"), 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_of_turns_that_fail_nothing_is_left(
    open_service: Opening,
    everything: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    *,
    stream: bool,
) -> None:
    service = await open_service(f"All is {WORD}", error)
    failed = await service.post(ask(WORD, stream=stream, coordsvc={"mode": "stream_then_check"}))
    assert failed.status_code in {status, 200}, "200: in a stream that had begun"
    left = await service.left_behind()
    assert "error.type" in left["spans"], "it was traced"
    if status >= 500:
        assert type(error).__name__ in everything.text, "it was logged, by its name"
    nothing_told(everything, left, failed)


async def test_of_clients_that_leave_nothing_is_left(
    open_service: Opening, everything: pytest.LogCaptureFixture
) -> None:
    service = await open_service(f"All is {WORD}", Never())
    body = httpx.Request("POST", "http://door", json=ask(WORD, stream=True)).content
    client = RawClient(
        service.app,
        [body],
        [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {KEY}".encode()),
        ],
    )
    turn = asyncio.create_task(client.run())
    await until(service.engine._engine.running)
    client.hung_up.set()
    await asyncio.wait_for(turn, 5)
    await until(lambda: "client hung up" in everything.text)
    nothing_told(everything, await service.left_behind())


@pytest.mark.parametrize("key", [None, WRONG, KEY + "x", f"{KEY}, Bearer {WRONG}"])
async def test_of_keys_nothing_is_left(
    open_service: Opening, everything: pytest.LogCaptureFixture, key: str | None
) -> None:
    service = await open_service(WORD, report())
    refused = await service.post(ask(WORD), key)
    assert refused.status_code == 401
    left = await service.left_behind()
    nothing_told(everything, left, refused)
