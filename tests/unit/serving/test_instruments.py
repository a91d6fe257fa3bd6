"""The instrumentation actor: what it is told is on a page that Prometheus reads."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coordsvc.clock import MonotonicClock
from coordsvc.core.baseline import Baseline, PhaseBaseline
from coordsvc.core.errors import CoordinationError, EngineBroken
from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import Micros
from coordsvc.serving.admin import Operations
from coordsvc.serving.instruments import Instruments
from coordsvc.telemetry.pool import PoolSnapshot
from coordsvc.telemetry.service import Running
from tests.unit.serving.http.fakes import result
from tests.unit.telemetry.told import CHECK, PLAN


def nobody() -> Operations:
    raise CoordinationError("there is no pool here")


@pytest.fixture(scope="module")
def instruments() -> Iterator[Instruments]:
    one = Instruments("127.0.0.1", 0, MonotonicClock(), nobody)
    yield one
    one.close()


def page(instruments: Instruments) -> dict[str, float]:
    """Return the samples at /metrics, by name and labels as they stand there."""
    port = asyncio.run(instruments.port())
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        "".join([sample.name, *(f" {said}" for said in sample.labels.values())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_turns_and_the_pool_are_on_the_page(instruments: Instruments) -> None:
    asyncio.run(instruments.turns((result(), result()), ("refused",)))
    asyncio.run(instruments.pool(PoolSnapshot(epoch=3, nodes=2)))
    seen = page(instruments)
    assert seen["coordsvc_turns_total answered"] == 2
    assert seen["coordsvc_turns_total refused"] == 1
    assert seen["coordsvc_turn_seconds_count checker+planner+responder"] == 2
    assert seen["coordsvc_allocator_epoch"] == 3
    assert seen["coordsvc_nodes"] == 2


def test_replicas_and_placement_groups_are_asked_for_and_shown(instruments: Instruments) -> None:
    there = Running(replicas={"Engine": 2, "Planner": 1}, groups={"created": 2, "pending": 1})
    asyncio.run(asked_for_a_while(instruments, lambda: there))
    seen = page(instruments)
    assert seen["coordsvc_replicas Engine"] == 2
    assert seen["coordsvc_placement_groups created"] == 2
    assert seen["coordsvc_placement_groups pending"] == 1


def test_a_serve_that_does_not_answer_is_not_the_end(
    instruments: Instruments, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody() -> Running:
        raise CoordinationError("Serve does not answer")

    asyncio.run(asked_for_a_while(instruments, nobody))
    assert "Serve does not answer" in caplog.text


async def asked_for_a_while(instruments: Instruments, look: Callable[[], Running]) -> None:
    """Have the instruments ask once and more; the loop's first rest is far shorter than theirs."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await instruments.keep_asking(look)


def test_a_check_after_the_reply_adds_to_what_the_turn_took(instruments: Instruments) -> None:
    before = page(instruments)
    asyncio.run(instruments.turns((), (), late_checks=((PLAN, CHECK),)))
    seen = page(instruments)
    engine = "coordsvc_engine_seconds_total checker check"
    assert seen[engine] - before.get(engine, 0) == pytest.approx(CHECK.engine_us / 1e6)
    turns = "coordsvc_turns_total answered"
    assert seen[turns] == before[turns], "it is no turn of its own"


def test_whether_the_baseline_is_measured_is_shown(instruments: Instruments) -> None:
    alone = PhaseBaseline(measured_us=Micros(1_000), ratio=1.0)
    profile = SoloProfile(start_us=1, prefill_us=1, decode_us=1)
    measured = Baseline(profile=profile, phases={}, usual=alone, fingerprint={})
    for baseline, said in ((measured, 1), (replace(measured, emulated=True), 0), (None, 0)):
        asyncio.run(instruments.compare_with(baseline))
        assert page(instruments)["coordsvc_baseline_calibrated"] == said


def test_requests_that_were_not_let_in_are_counted(instruments: Instruments) -> None:
    asyncio.run(instruments.refused({"wrong_key": 3}))
    assert page(instruments)["coordsvc_requests_refused_total wrong_key"] == 3


def test_turns_that_nobody_told_of_are_counted(instruments: Instruments) -> None:
    asyncio.run(instruments.turns((), (), untold=3))
    assert page(instruments)["coordsvc_turns_untold_total"] == 3


def test_no_news_is_no_news(instruments: Instruments) -> None:
    before = page(instruments)
    asyncio.run(instruments.turns((), ()))
    assert page(instruments) == before


def test_a_port_that_is_taken_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineBroken, match=rf"metrics.port {port} .* choose another port"):
            Instruments("127.0.0.1", port, MonotonicClock(), nobody)
