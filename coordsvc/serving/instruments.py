"""The instrumentation actor: every metric of one application on one fixed, named port.

Replicas and the allocator tell it what happened, in batches and without waiting for an answer;
when it is away they go on, and what they would have told is lost, no more.
"""

import asyncio
import logging
from collections.abc import Callable
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from coordsvc.core.accounting import TurnResult
from coordsvc.core.errors import CoordinationError, EngineBroken
from coordsvc.serving.pool import find
from coordsvc.telemetry.metrics import Metrics, PoolSnapshot

log = logging.getLogger(__name__)

TELL_S = 0.25
"""How long news for the instruments gathers before it is sent: a call costs a millisecond."""
UNTOLD_MAX = 10_000
"""News kept while the instruments are away; the oldest beyond it is lost."""


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


class InstrumentsLine:
    """A replica's way to the instruments; a `TurnRecorder` that gathers and never waits."""

    def __init__(self, name: str, reach: Callable[[str], ActorHandle[Any] | None] = find) -> None:
        self._name = name
        self._reach = reach
        self._actor: ActorHandle[Any] | None = None
        self._results: list[TurnResult] = []
        self._outcomes: list[str] = []
        self._sending: asyncio.Task[None] | None = None

    def answered(self, result: TurnResult) -> None:
        """Count a turn whose reply has been handed over."""
        self._results.append(result)
        self._soon()

    def ended(self, outcome: str) -> None:
        """Count a turn that ended in another way."""
        self._outcomes.append(outcome)
        self._soon()

    def check_lost(self, turn_id: str, error: CoordinationError) -> None:
        """Count a check after the reply that could not be run."""
        log.warning("the check of %s after its reply was lost: %s", turn_id, error)
        self.ended("check_lost")

    def snapshot(self, snapshot: PoolSnapshot) -> None:
        """Send what the allocator tells of itself, now."""
        try:
            if (actor := self._handle()) is not None:
                actor.pool.remote(snapshot)
        except RayActorError:
            self._actor = None

    def _soon(self) -> None:
        del self._results[:-UNTOLD_MAX], self._outcomes[:-UNTOLD_MAX]
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            await asyncio.sleep(TELL_S)
            results, self._results = tuple(self._results), []
            outcomes, self._outcomes = tuple(self._outcomes), []
            if (actor := self._handle()) is not None:
                await actor.turns.remote(results, outcomes)
        except RayActorError:
            self._actor = None  # it will be found again under its name, or made anew
        finally:
            self._sending = None
            if self._results or self._outcomes:
                self._soon()

    def _handle(self) -> ActorHandle[Any] | None:
        if self._actor is None:
            self._actor = self._reach(self._name)
        return self._actor
