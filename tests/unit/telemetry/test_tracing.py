"""Traces on their way to a collector that takes them, refuses them, hangs, or is not there."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from coordsvc.core import turn_spans
from coordsvc.core.accounting import PARTS
from coordsvc.core.semconv import SCHEMA_URL
from coordsvc.core.spans import CheckTold, TurnTold
from coordsvc.core.trace import Sampling, TraceContext
from coordsvc.core.units import SECOND, Instant
from coordsvc.telemetry.trace_terms import TraceTerms
from coordsvc.telemetry.tracing import SDK_LOGGER, TurnTraces, resource
from tests.collector import Collector, collecting, values
from tests.unit.core.test_turn_spans import (
    CHECK,
    CONTEXT,
    NAMED,
    RESPOND,
    answered,
    ms,
    phase,
    turns,
)

NOWHERE = "http://127.0.0.1:9/v1/traces"
"""The port `discard`: nobody listens there."""


class Zero:
    """A clock that has just begun."""

    def now(self) -> Instant:
        return Instant(0)


def terms(endpoint: str, **changes: Any) -> TraceTerms:
    usual: dict[str, Any] = {"sampling": Sampling.of(1.0), "timeout_s": 0.3, "delay_s": 0.02}
    return TraceTerms(endpoint=endpoint, **(usual | changes))


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


Making = Callable[..., TurnTraces]


@pytest.fixture
def lost() -> list[int]:
    return []


@pytest.fixture
def tracing(lost: list[int]) -> Iterator[Making]:
    made: list[TurnTraces] = []

    def make(endpoint: str, **changes: Any) -> TurnTraces:
        made.append(TurnTraces(terms(endpoint, **changes), NAMED, Zero(), lost.append))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def a_turn(number: int = 0) -> TurnTold:
    """A turn of two phases: five spans."""
    context = TraceContext(CONTEXT.trace_id + number, CONTEXT.span_id, CONTEXT.parent_id)
    first, second = phase(0, 100), phase(100, 200, RESPOND, predecessors=(0,))
    told = answered(first, second, wall_us=ms(210), ingress_us=ms(5))
    return TurnTold(
        context=context,
        turn_id=told.turn_id,
        arrived=told.arrived,
        ended=told.ended,
        request=told.request,
        spans=told.spans,
        result=told.result,
    )


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# A collector as it should be


def test_what_a_collector_gets_is_what_was_told(collector: Collector, tracing: Making) -> None:
    before = time.time_ns()
    told = a_turn()
    tracing(f"{collector.url}/v1/traces").turn(told)
    sent = {span.span_id: span for span in collector.turn(CONTEXT.trace_id, 5)}
    wanted = list(turn_spans.turn_spans(told, NAMED))
    assert len(sent) == len(wanted)
    for span in wanted:
        got = sent[span.span_id.to_bytes(8)]
        assert got.name == span.name
        assert got.parent_span_id == (span.parent_id or 0).to_bytes(8)
        assert values(got.attributes) == dict(span.attributes)
        assert got.end_time_unix_nano - got.start_time_unix_nano == (
            (span.ended - span.started) * 1_000
        )
        assert [(one.name, values(one.attributes)) for one in got.events] == [
            (one.name, dict(one.attributes)) for one in span.events
        ]
    root = sent[CONTEXT.span_id.to_bytes(8)]
    assert root.kind == Sent.SPAN_KIND_SERVER
    assert {span.kind for span in sent.values()} - {root.kind} == {Sent.SPAN_KIND_CLIENT}
    afar = SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    assert [one.name for one in sent.values() if one.flags & afar] == [root.name]
    # instants count from the clock's zero, which was now
    assert before // 1_000 <= root.start_time_unix_nano // 1_000 <= time.time_ns() // 1_000
    assert collector.scopes == [("coordsvc", SCHEMA_URL)]


def test_a_turn_without_a_parent_begins_its_trace_under_the_id_its_client_was_told(
    collector: Collector, tracing: Making
) -> None:
    context = TraceContext(0xFEED, 0xBEEF)
    told = TurnTold(context=context, turn_id="t", arrived=Instant(0), ended=Instant(5), error="no")
    tracing(f"{collector.url}/v1/traces").turn(told)
    (root,) = collector.turn(0xFEED, 1)
    assert (root.span_id, root.parent_span_id) == ((0xBEEF).to_bytes(8), b"")
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert values(root.attributes)["error.type"] == "no"


def test_a_check_comes_later_into_the_same_trace(collector: Collector, tracing: Making) -> None:
    traces = tracing(f"{collector.url}/v1/traces")
    traces.turn(a_turn())
    traces.check(CheckTold(context=CONTEXT, number=2, span=phase(220, 320, CHECK)))
    sent = collector.turn(CONTEXT.trace_id, 7)
    (check,) = [span for span in sent if span.name == "invoke_agent checker"]
    (reply,) = [span for span in sent if span.name == "invoke_agent responder"]
    assert check.parent_span_id == sent[0].span_id
    assert [link.span_id for link in check.links] == [reply.span_id]
    assert check.start_time_unix_nano > sent[0].end_time_unix_nano


@settings(max_examples=25)
@given(turns())
def test_exported_spans_add_up_to_the_account(turn: TurnTold) -> None:
    memory, lost = InMemorySpanExporter(), list[int]()
    traces = TurnTraces(terms(NOWHERE), NAMED, Zero(), lost.append, memory)
    traces.turn(turn)
    traces.stop()
    found: Counter[str] = Counter()
    for span in memory.get_finished_spans():
        for name, value in (span.attributes or {}).items():
            if isinstance(value, float):
                found[name] += round(value * SECOND)
    assert turn.result is not None
    account = turn.result.account
    assert {part: found[f"coordsvc.part.{part}_s"] for part in PARTS} == account.parts
    assert found["coordsvc.solo_s"] == account.solo_us
    assert lost == []


# Who it is that tells


def test_the_environment_names_the_service_unless_the_settings_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert resource(terms(NOWHERE)).attributes["service.name"] == "coordsvc"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,team=blue")
    assert resource(terms(NOWHERE)).attributes["service.name"] == "theirs"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "env")
    found = resource(terms(NOWHERE, attributes={"service.instance.id": "r1"})).attributes
    assert (found["service.name"], found["team"]) == ("env", "blue")
    assert found["service.instance.id"] == "r1"
    assert found["telemetry.sdk.name"] == "opentelemetry"
    assert resource(terms(NOWHERE, service_name="ours")).attributes["service.name"] == "ours"


def test_headers_come_from_the_environment(
    collector: Collector, tracing: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20sesame")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    tracing(f"{collector.url}/v1/traces").turn(a_turn())
    collector.turn(CONTEXT.trace_id, 5)
    assert collector.headers["authorization"] == "Bearer sesame"


def test_the_global_provider_is_left_to_others(tracing: Making) -> None:
    before = trace.get_tracer_provider()
    tracing(NOWHERE).turn(a_turn())
    assert trace.get_tracer_provider() is before


# A collector as it may be


def test_one_that_is_away_costs_a_count_and_one_line(
    collector: Collector, tracing: Making, lost: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    traces = tracing(NOWHERE)
    for number in (1, 2):
        traces.turn(a_turn(number))
        collector.until(lambda number=number: sum(lost) == 5 * number)
    (line,) = warned(caplog)
    assert "127.0.0.1:9 does not take spans, and they are lost until it does" in line


def test_one_that_comes_back_is_told_what_is_new_and_nothing_else(
    collector: Collector, tracing: Making, lost: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector.status = 401
    traces = tracing(f"{collector.url}/v1/traces")
    traces.turn(a_turn(1))
    collector.until(lambda: lost)
    collector.status = 200
    traces.turn(a_turn(2))
    collector.turn(CONTEXT.trace_id + 2, 5)
    collector.until(lambda: "takes spans again" in caplog.text)
    assert lost == [5]
    assert len(warned(caplog)) == 1
    assert "401" in warned(caplog)[0]


def hang(collector: Collector, traces: TurnTraces, number: int) -> None:
    """Have one turn sent to a collector that does not answer."""
    collector.hangs.set()
    asked = collector.asked
    traces.turn(a_turn(number))
    collector.until(lambda: collector.asked == asked + 1)


def test_one_that_hangs_holds_up_nobody_and_whole_traces_are_lost(
    collector: Collector, tracing: Making, lost: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    traces = tracing(f"{collector.url}/v1/traces", queue_spans_max=16, timeout_s=30)
    hang(collector, traces, 0)
    for number in range(1, 51):
        traces.turn(a_turn(number))
    assert lost == [5] * 47, "three times five spans fit in sixteen"
    (line,) = warned(caplog)
    assert "15 spans wait for 127.0.0.1" in line
    collector.hangs.clear()
    for number in range(4):
        collector.turn(CONTEXT.trace_id + number, 5)
    assert len(collector.spans) == 20


def test_once_it_has_caught_up_traces_go_out_again(
    collector: Collector, tracing: Making, lost: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    traces = tracing(f"{collector.url}/v1/traces", queue_spans_max=16, timeout_s=30)
    for first in (0, 10):
        hang(collector, traces, first)
        for number in range(first + 1, first + 5):
            traces.turn(a_turn(number))
        collector.hangs.clear()
        collector.until(lambda first=first: len(collector.spans) == 20 + 2 * first)
    assert lost == [5, 5]
    assert len(warned(caplog)) == 2, "once for each time that it was full"


def test_what_waits_at_the_end_is_sent(collector: Collector, tracing: Making) -> None:
    traces = tracing(f"{collector.url}/v1/traces")
    traces.turn(a_turn())
    traces.stop()
    assert len(collector.spans) == 5


class Refuses(SpanExporter):
    """An exporter whose collector is away."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.append(len(spans))
        return SpanExportResult.FAILURE


def test_an_end_tries_one_that_is_away_no_more(lost: list[int]) -> None:
    away = Refuses()
    traces = TurnTraces(terms(NOWHERE, delay_s=60), NAMED, Zero(), lost.append, away)
    for number in range(102):
        traces.turn(a_turn(number))
    assert away.asked == [], "fewer than a batch, and a minute to wait"
    traces._outlet._failing = True  # as after a batch that was refused
    traces.stop()
    assert (away.asked, lost) == ([], [510])


def test_what_others_export_is_logged_as_before(
    tracing: Making, caplog: pytest.LogCaptureFixture
) -> None:
    tracing(NOWHERE)
    logging.getLogger(SDK_LOGGER).error("somebody else's failure")
    assert warned(caplog) == ["somebody else's failure"]
