"""The instrumentation actor: every metric of one application on one fixed, named port.

Replicas and the allocator tell it what happened, in batches and without waiting for an answer;
when it is away they go on, and what they would have told is lost, no more.
"""

from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server

from coordsvc.core.accounting import TurnResult
from coordsvc.core.errors import EngineBroken
from coordsvc.telemetry.metrics import Metrics, PoolSnapshot


class Instruments:
    """Holds the metrics and serves `/metrics`. A plain class; made an actor where it is started."""

    def __init__(self, host: str, port: int) -> None:
        self._metrics = Metrics()
        try:
            server, thread = start_http_server(port, host, registry=self._metrics.registry)
        except OSError as error:
            raise EngineBroken(
                f"metrics.port {port} on {host} cannot be opened ({error.strerror}); "
                "choose another port, or 0 for any free one"
            ) from error
        self._server: WSGIServer = server
        self._thread: Thread = thread

    async def port(self) -> int:
        """Return the port that metrics are served on."""
        return int(self._server.server_port)

    async def turns(self, results: tuple[TurnResult, ...], outcomes: tuple[str, ...]) -> None:
        """Count turns: those answered, and how others ended."""
        for result in results:
            self._metrics.turn(result)
        for outcome in outcomes:
            self._metrics.outcome(outcome)

    async def pool(self, snapshot: PoolSnapshot) -> None:
        """Show what the allocator told of itself."""
        self._metrics.pool(snapshot)
