"""On what terms turns are traced; apart from the tracing itself, which loads OpenTelemetry."""

from dataclasses import dataclass, field

from coordsvc.core.trace import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceTerms:
    """Where traces go, and on what terms."""

    endpoint: str
    """The whole URL that OTLP is posted to."""
    sampling: Sampling
    service_name: str | None = None
    """None leaves it to `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, else it is ours."""
    text_chars_max: int = 0
    """Characters of each message that spans repeat; 0 repeats none."""
    queue_spans_max: int = 2_048
    """Beyond it whole traces are lost."""
    delay_s: float = 1.0
    """How long spans wait for company."""
    timeout_s: float = 3.0
    """For a batch to be taken, further tries included."""
    attributes: dict[str, str] = field(default_factory=dict)
    """More facts about the service, for its resource."""
