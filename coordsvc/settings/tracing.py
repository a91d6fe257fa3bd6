"""Where traces go: the settings' word, else OpenTelemetry's own environment variables."""

import logging
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from coordsvc.core.trace import Sampling
from coordsvc.settings.node import Node
from coordsvc.telemetry.trace_terms import TraceTerms

log = logging.getLogger(__name__)

PATH = "/v1/traces"
"""Where OTLP over HTTP takes spans, below a collector's base URL."""
RATIO = 0.1
QUEUE_SPANS_MAX = 2_048
TIMEOUT_S = 3.0
DELAY_MS = 1_000
"""The SDK's 5 s are long for somebody who waits for a trace."""
SAMPLERS: Mapping[str, tuple[float | None, bool]] = {
    "always_on": (1.0, False),
    "always_off": (0.0, False),
    "traceidratio": (None, False),
    "parentbased_always_on": (1.0, True),
    "parentbased_always_off": (0.0, True),
    "parentbased_traceidratio": (None, True),
}
"""`OTEL_TRACES_SAMPLER`: the ratio, None if its argument says it, and if a client's word stands."""


def _is_collector(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("the base URL of a collector is right, such as http://collector:4318")
    if parts.username or parts.password:
        raise ValueError("leave secrets out of it: OTEL_EXPORTER_OTLP_HEADERS is for them")
    if parts.query or parts.fragment:
        raise ValueError(f"a base URL ends with its path; {PATH} is added to it")
    return url


class TracingSettings(Node):
    """Traces of turns, by OpenTelemetry (docs/guides/traces.md)."""

    endpoint: Annotated[str, Field(max_length=2_000), AfterValidator(_is_collector)] | None = None
    """Base URL of an OTLP collector that speaks HTTP; `/v1/traces` is added. None takes
    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`; without either, nothing
    is traced, and tracing costs nothing."""
    sample_ratio: float | None = Field(default=None, ge=0, le=1)
    """Share of turns that are traced, 0 to 1, if the client has not decided itself. None takes
    `OTEL_TRACES_SAMPLER` and its argument, else 0.1: making a trace takes the ingress half a
    millisecond of CPU, and one turn in ten shows where time goes."""
    service_name: str | None = Field(default=None, min_length=1, max_length=200)
    """`service.name`. None takes `OTEL_SERVICE_NAME`, else `coordsvc`."""
    text: bool = False
    """Whether spans repeat what users and agents said. It is private, and collectors keep it."""
    text_chars_max: int = Field(default=4_096, ge=1, le=1_000_000)
    """Characters of each message that spans repeat: a page."""
    queue_spans_max: int | None = Field(default=None, ge=16, le=1_000_000)
    """Spans that may wait to be sent; beyond it whole traces are lost, and counted. None takes
    `OTEL_BSP_MAX_QUEUE_SIZE`, else 2048: some 300 turns, a megabyte or two."""
    timeout_s: float | None = Field(default=None, gt=0, le=60)
    """Seconds to send a batch, further tries included; then it is lost. None takes
    `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT` or `OTEL_EXPORTER_OTLP_TIMEOUT`, else 3: no turn waits for
    it, but a replica that stops does."""

    def terms(
        self, environ: Mapping[str, str], attributes: Mapping[str, str] | None = None
    ) -> TraceTerms | None:
        """Return on what terms turns are traced, by a service of these facts; None if not."""
        given = Environment(environ)
        endpoint = f"{self.endpoint.rstrip('/')}{PATH}" if self.endpoint else given.endpoint()
        if endpoint is None or given.text("OTEL_SDK_DISABLED").lower() == "true":
            return None
        ratio = self.sample_ratio
        return TraceTerms(
            endpoint=endpoint,
            sampling=Sampling.of(ratio) if ratio is not None else given.sampling(),
            service_name=self.service_name,
            text_chars_max=self.text_chars_max if self.text else 0,
            queue_spans_max=self.queue_spans_max or given.queue_spans_max(),
            delay_s=given.delay_s(),
            timeout_s=self.timeout_s or given.timeout_s(),
            attributes=dict(attributes or {}),
        )


class Environment:
    """OpenTelemetry's variables. What it cannot read it warns of and ignores, as its rules say."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, *names: str) -> str:
        """Return the first variable that says something, else nothing."""
        found = (self._environ.get(name, "").strip() for name in names)
        return next((value for value in found if value), "")

    def endpoint(self) -> str | None:
        """Return where spans are posted to, if anywhere."""
        exporter = self.text("OTEL_TRACES_EXPORTER") or "otlp"
        if "otlp" not in exporter.split(","):
            return None
        whole = self.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        base = self.text("OTEL_EXPORTER_OTLP_ENDPOINT")
        endpoint = whole or (base.rstrip("/") + PATH if base else "")
        if not endpoint:
            return None
        protocol = self.text("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        if protocol == "grpc":
            log.warning(
                "traces: OTEL_EXPORTER_OTLP_PROTOCOL says grpc, and http/protobuf is spoken here; "
                "nothing is traced. Set it, and the endpoint's port, 4318 as a rule"
            )
            return None
        if urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname:
            log.warning("traces: OTEL_EXPORTER_OTLP_ENDPOINT is no URL; nothing is traced")
            return None
        return endpoint

    def sampling(self) -> Sampling:
        """Return which turns are traced."""
        named = self.text("OTEL_TRACES_SAMPLER") or "parentbased_traceidratio"
        if named not in SAMPLERS:
            log.warning(
                "traces: OTEL_TRACES_SAMPLER %r is ignored; there are %s",
                named[:80],
                ", ".join(SAMPLERS),
            )
            named = "parentbased_traceidratio"
        ratio, heeds_parent = SAMPLERS[named]
        if ratio is None:
            ratio = self._number(("OTEL_TRACES_SAMPLER_ARG",), RATIO, 0, 1)
        return Sampling.of(ratio, heeds_parent=heeds_parent)

    def queue_spans_max(self) -> int:
        """Return how many spans may wait."""
        return round(self._number(("OTEL_BSP_MAX_QUEUE_SIZE",), QUEUE_SPANS_MAX, 16, 1_000_000))

    def delay_s(self) -> float:
        """Return how long spans wait for company."""
        return self._number(("OTEL_BSP_SCHEDULE_DELAY",), DELAY_MS, 1, 60_000) / 1_000

    def timeout_s(self) -> float:
        """Return how long a batch may take; in seconds, as Python's SDK understands it."""
        names = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
        return self._number(names, TIMEOUT_S, 0.01, 60)

    def _number(self, names: tuple[str, ...], usual: float, least: float, most: float) -> float:
        value = self.text(*names)
        if not value:
            return usual
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if least <= number <= most:
            return number
        log.warning(
            "traces: %s %r is ignored, and %s taken; %s to %s is right",
            names[-1],
            value[:80],
            usual,
            least,
            most,
        )
        return usual
