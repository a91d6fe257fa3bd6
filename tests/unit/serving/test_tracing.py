"""Traces in an ingress replica: off unless there is a collector, and losses told on the loop.

Threads and sockets are real here, so time must be, too: each story runs in a loop of its own.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import pytest

from coordsvc.core.spans import TurnTold
from coordsvc.core.trace import Sampling, TraceContext
from coordsvc.core.units import Instant
from coordsvc.serving.tracing import Tracing
from coordsvc.settings import check
from tests.collector import collecting, values
from tests.jumping import LoopClock

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def tracing(lost: Any = None, **said: Any) -> Tracing:
    settings = check({"tracing": said, "served_model": "tiny", "engine": {"kind": "scripted"}})
    facts = {"service.instance.id": "r1"}
    return Tracing.of(settings, "Tiny-1B", facts, LoopClock(), lost or (lambda _: None))


def in_real_time(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a story in plain asyncio."""

    @wraps(story)
    def run(**fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(story(**fixtures))

    return run


def failed() -> TurnTold:
    return TurnTold(
        context=TraceContext(1, 2), turn_id="t", arrived=Instant(0), ended=Instant(1), error="no"
    )


@in_real_time
async def test_without_a_collector_there_is_nothing() -> None:
    off = tracing()
    assert (off.sampling, off.tracer) == (None, None)
    await off.stop()


@in_real_time
async def test_with_one_turns_reach_it_and_say_whose_they_are() -> None:
    with collecting() as collector:
        on = tracing(endpoint=collector.url, sample_ratio=0.5)
        assert on.sampling == Sampling.of(0.5)
        assert on.tracer is not None
        on.tracer.turn(failed())
        await on.stop()
        (root,) = collector.turn(1, 1)
    assert values(root.attributes)["gen_ai.request.model"] == "tiny"
    (resource,) = collector.resources
    assert (resource["service.name"], resource["service.instance.id"]) == ("coordsvc", "r1")


@in_real_time
async def test_the_environment_may_name_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        on = tracing()
        assert on.tracer is not None
        on.tracer.turn(failed())
        await on.stop()
        assert len(collector.spans) == 1


@in_real_time
async def test_losses_are_told_on_the_loop_whichever_thread_finds_them() -> None:
    heard: list[tuple[int, int]] = []
    on = tracing(
        lambda count: heard.append((count, threading.get_ident())),
        endpoint=NOWHERE,
        timeout_s=0.2,
    )
    assert on.tracer is not None
    on.tracer.turn(failed())
    await on.stop()
    await asyncio.sleep(0)
    assert heard == [(1, threading.get_ident())]
