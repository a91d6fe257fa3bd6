"""A small OpenTelemetry collector: takes OTLP over HTTP, and keeps the spans it was sent."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE_S = 20.0


class Collector:
    """Listens on a free port of this machine."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.hangs = threading.Event()
        """While it is set, nobody is answered."""
        self.asked = 0
        self.headers: dict[str, str] = {}
        self.resources: list[dict[str, Any]] = []
        self.scopes: list[tuple[str, str]] = []
        self.spans: list[Span] = []
        self._closing = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector._take(self)

            def log_message(self, *said: object) -> None:
                del said

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def turn(self, trace_id: int, spans: int) -> list[Span]:
        """Return all spans of a trace, once there are so many, the server's own first."""
        wanted = trace_id.to_bytes(16)
        self.until(lambda: len(self._of(wanted)) >= spans)
        found = self._of(wanted)
        assert len(found) == spans, [span.name for span in found]
        return sorted(found, key=lambda span: (span.kind != Span.SPAN_KIND_SERVER,))

    def until(self, what: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.01)

    def _of(self, trace_id: bytes) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.rfile.read(int(request.headers["content-length"]))
        while self.hangs.is_set() and not self._closing.is_set():
            time.sleep(0.01)
        if request.path != "/v1/traces":
            request.send_error(404)
            return
        if self.status != 200:
            request.send_error(self.status)
            return
        self._keep(gzip.decompress(body) if "content-encoding" in self.headers else body)
        answer = ExportTraceServiceResponse().SerializeToString()
        request.send_response(200)
        request.send_header("content-type", "application/x-protobuf")
        request.send_header("content-length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def _keep(self, body: bytes) -> None:
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(values(sent.resource.attributes))
            for scope in sent.scope_spans:
                self.scopes.append((scope.scope.name, scope.schema_url))
                self.spans += scope.spans


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(one) for one in value.array_value.values)
    return getattr(value, kind)
