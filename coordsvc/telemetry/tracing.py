"""Traces of turns, sent to an OpenTelemetry collector by OTLP over HTTP.

Turns are told of after they are over; their spans are made here, and handed to the SDK's batch
processor, whose thread sends them. A collector that is away, slow or hung costs a turn nothing:
what it does not take is lost, counted, and logged once for each time that it is away.

Everything here is ours alone: Ray keeps a global provider for itself, which is left as it is.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from coordsvc import __version__
from coordsvc.core.semconv import SCHEMA_URL
from coordsvc.core.spans import (
    SERVICE,
    CheckTold,
    Kind,
    Named,
    Span,
    TurnTold,
)
from coordsvc.core.turn_spans import check_spans, turn_spans
from coordsvc.core.units import Instant
from coordsvc.ports import Clock
from coordsvc.telemetry.trace_terms import TraceTerms

log = logging.getLogger(__name__)

SDK_LOGGER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
BATCH_SPANS_MAX = 512
"""The SDK's own default: a request of some 300 kB."""
WHY_CHARS_MAX = 300
"""Of what the SDK says of a failure."""
NANOS, MILLIS = 1_000, 1_000
"""In a microsecond; in a second."""
KINDS: dict[Kind, SpanKind] = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}


class TurnTraces:
    """The port `TurnTracer`: makes spans, and has them sent."""

    def __init__(
        self,
        terms: TraceTerms,
        named: Named,
        clock: Clock,
        lost: Callable[[int], None],
        exporter: SpanExporter | None = None,
    ) -> None:
        """`lost` hears how many spans were lost, each time, on any thread; it must not block."""
        self._terms = terms
        self._named = named
        self._clock = clock
        self._lost = lost
        otlp = exporter or OTLPSpanExporter(endpoint=terms.endpoint, timeout=terms.timeout_s)
        self._outlet = Outlet(otlp, _host(terms.endpoint), lost)
        self._ids = GivenIds()
        no_metrics = NoOpMeterProvider()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # who is told of at all has been chosen already
            resource=resource(terms),
            shutdown_on_exit=False,
            id_generator=self._ids,
            meter_provider=no_metrics,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._outlet,
                max_queue_size=terms.queue_spans_max,
                schedule_delay_millis=terms.delay_s * MILLIS,
                max_export_batch_size=min(BATCH_SPANS_MAX, terms.queue_spans_max),
                meter_provider=no_metrics,
            )
        )
        self._tracer = self._provider.get_tracer(SERVICE, __version__, SCHEMA_URL)
        self._offered = 0
        self._full = False

    def turn(self, told: TurnTold) -> None:
        """Trace a turn that is over."""
        self._send(told.context.trace_id, tuple(turn_spans(told, self._named)))

    def check(self, told: CheckTold) -> None:
        """Trace a check that ran after its turn."""
        self._send(told.context.trace_id, tuple(check_spans(told, self._named)))

    def stop(self) -> None:
        """Send what is left, unless the collector is away; blocks for two timeouts at most."""
        self._outlet.stopping = True
        self._provider.shutdown()
        self._outlet.release()

    def _send(self, trace_id: int, spans: tuple[Span, ...]) -> None:
        """Queue all spans, or none: half a trace misleads, and the SDK would drop the oldest."""
        waiting = self._offered - self._outlet.taken
        if waiting + len(spans) > self._terms.queue_spans_max:
            if not self._full:
                log.warning(
                    "traces: %d spans wait for %s, and that is the limit; "
                    "traces are lost until they are fewer",
                    waiting,
                    _host(self._terms.endpoint),
                )
            self._full = True
            self._lost(len(spans))
            return
        if 2 * waiting < self._terms.queue_spans_max:
            self._full = False
        self._offered += len(spans)
        zero_us = time.time_ns() // NANOS - self._clock.now()
        for span in spans:
            self._tell(trace_id, span, zero_us)

    def _tell(self, trace_id: int, span: Span, zero_us: int) -> None:
        def unix_ns(at: Instant) -> int:
            return (zero_us + at) * NANOS

        self._ids.trace_id, self._ids.span_id = trace_id, span.span_id
        remote = span.kind == "server"
        told = self._tracer.start_span(
            span.name,
            context=_below(trace_id, span.parent_id, remote=remote),
            kind=KINDS[span.kind],
            attributes=span.attributes,
            links=[Link(_context(trace_id, span_id)) for span_id in span.links],
            start_time=unix_ns(span.started),
        )
        for event in span.events:
            told.add_event(event.name, event.attributes, unix_ns(event.at))
        if span.failed:
            told.set_status(Status(StatusCode.ERROR))
        told.end(unix_ns(span.ended))


class GivenIds(IdGenerator):
    """Hands out the ids that it was given: a turn's were told to its client before it began."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        """Return the trace's id."""
        return self.trace_id

    def generate_span_id(self) -> int:
        """Return the span's id."""
        return self.span_id


class Outlet(SpanExporter):
    """An exporter that counts what comes through and what is lost, and says so once."""

    def __init__(self, inside: SpanExporter, where: str, lost: Callable[[int], None]) -> None:
        self._inside = inside
        self._where = where
        self._lost = lost
        self._hush = Hush()
        self._failing = False
        self.taken = 0
        """Spans that have left the queue."""
        self.stopping = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; on the processor's thread."""
        self.taken += len(spans)
        if self.stopping and self._failing:
            self._lost(len(spans))
            return SpanExportResult.FAILURE
        with self._hush.words() as words:
            result = self._inside.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._failing:
                log.info("traces: %s takes spans again", self._where)
            self._failing = False
        else:
            self._lost(len(spans))
            if not self._failing:
                why = words[0][:WHY_CHARS_MAX] if words else "no reason given"
                log.warning(
                    "traces: %s does not take spans, and they are lost until it does: %s",
                    self._where,
                    why,
                )
            self._failing = True
        return result

    def shutdown(self) -> None:
        """End the exporter inside."""
        self._inside.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether the exporter inside holds nothing back."""
        return self._inside.force_flush(timeout_millis)

    def release(self) -> None:
        """Let the SDK's logger speak for itself again."""
        self._hush.release()


class Hush(logging.Filter):
    """Keeps to itself what the SDK logs of exports of ours; it would say it again each time."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = 0
        self._words: list[str] = []
        logging.getLogger(SDK_LOGGER).addFilter(self)

    @contextmanager
    def words(self) -> Iterator[list[str]]:
        """Within, collect what is logged on this thread."""
        self._words = []
        self._thread = threading.get_ident()
        try:
            yield self._words
        finally:
            self._thread = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record may pass: not if it is of an export of ours."""
        if record.thread != self._thread:
            return True
        self._words.append(record.getMessage())
        return False

    def release(self) -> None:
        """Listen no more."""
        logging.getLogger(SDK_LOGGER).removeFilter(self)


def resource(terms: TraceTerms) -> Resource:
    """Return what every span says of its service: ours, the environment's, the settings' last."""
    ours = Resource({"service.name": SERVICE, "service.version": __version__, **terms.attributes})
    found = ours.merge(OTELResourceDetector().detect())
    if terms.service_name is not None:
        found = found.merge(Resource({"service.name": terms.service_name}))
    return Resource.create().merge(found)


def _context(trace_id: int, span_id: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, remote, TraceFlags(TraceFlags.SAMPLED))


def _below(trace_id: int, parent_id: int | None, *, remote: bool) -> Context:
    """Return a context in which the parent is current; whatever else is current, is not."""
    if parent_id is None:
        return Context()
    parent = NonRecordingSpan(_context(trace_id, parent_id, remote=remote))
    return set_span_in_context(parent, Context())


def _host(endpoint: str) -> str:
    """Return where an endpoint is, without what may be secret in it."""
    url = urlsplit(endpoint)
    return f"{url.hostname}:{url.port}" if url.port else str(url.hostname)
