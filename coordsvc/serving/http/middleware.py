"""The outermost layer: names each request, guards its way out, answers whatever went wrong.

Pure ASGI, so that it costs a few microseconds and sees streams as they are.
"""

import logging
from dataclasses import dataclass
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from coordsvc.core.errors import Overloaded, RetryableError
from coordsvc.core.spans import TurnTold
from coordsvc.core.units import Instant
from coordsvc.serving.bugs import bug_told
from coordsvc.serving.http.door import Door
from coordsvc.serving.http.errors import (
    JSON_TYPE,
    ClientGone,
    Problem,
    explain,
    is_ours_to_fix,
)
from coordsvc.serving.http.keys import Caller
from coordsvc.serving.http.trace import Names
from coordsvc.serving.http.wire import Wire

log = logging.getLogger(__name__)

CHAT = "/v1/chat/completions"
"""The route that turns begin at."""
OPEN = ("/healthz", "/readyz")
"""What needs no key: a cluster's probes have none."""
_KEY = "coordsvc.exchange"


@dataclass(slots=True)
class Exchange:
    """One request and its response, as the routes find it in their scope."""

    names: Names
    wire: Wire
    streaming: bool = False
    """Whether the response is server-sent events, so an error can still be told in it."""
    caller: Caller | None = None
    """Whose key it carries; None where no keys are asked for."""


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that `Envelope` opened."""
    return cast("Exchange", scope[_KEY])


class Envelope:
    """The ASGI middleware around every route."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._clock = door.clock
        self._sampling = door.sampling
        self._tracer = door.tracer
        self._keys = door.keys
        self._log_text = door.settings.log_text
        self._slow_s = door.settings.slow_client_s
        self._retry_after_s = door.settings.retry_after_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the response is complete afterwards unless the client is gone."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        names = Names.of(scope["headers"], self._sampling)
        exchange = Exchange(names, Wire(send, self._clock, names, self._slow_s))
        scope[_KEY] = exchange
        began = self._clock.now()
        try:
            if self._keys is not None and not scope["path"].endswith(OPEN):
                address = scope["client"][0] if scope.get("client") else ""
                exchange.caller = self._keys.caller(scope["headers"], address)
            await self._app(scope, receive, exchange.wire.send)
        except ClientGone as gone:
            _note_gone(names, gone)
        except Exception as error:  # noqa: BLE001 - the last frame before the client: logged, answered
            problem = explain(error, self._retry_after_s)
            await self._answer(exchange, error, problem)
            if names.sampled and not names.is_turn and scope["path"].endswith(CHAT):
                self._trace_refused(names, began, problem)

    async def _answer(self, exchange: Exchange, error: Exception, problem: Problem) -> None:
        names, wire = exchange.names, exchange.wire
        if is_ours_to_fix(error):
            log.error(
                "request %s, turn %s failed\n%s",
                names.request_id.decode(),
                names.turn_id,
                bug_told(error, words=self._log_text),
            )
        elif isinstance(error, RetryableError) and not isinstance(error, Overloaded):
            log.warning(
                "request %s, turn %s was interrupted: %r",
                names.request_id.decode(),
                names.turn_id,
                error,
            )
        try:
            if not wire.started:
                await send_problem(wire, problem)
            elif exchange.streaming and not wire.finished:
                await wire.write(b"data: " + problem.body() + b"\n\n", more=False)
        except ClientGone as gone:
            _note_gone(names, gone)

    def _trace_refused(self, names: Names, began: Instant, problem: Problem) -> None:
        """Have a request traced that became no turn: its client was told a span, and gets one."""
        context = names.trace()
        if context is None or self._tracer is None:
            return
        self._tracer.turn(
            TurnTold(
                context=context,
                turn_id=names.turn_id,
                arrived=began,
                ended=self._clock.now(),
                error=problem.code or str(problem.status),
            )
        )


async def send_problem(wire: Wire, problem: Problem) -> None:
    """Answer with `problem`, and nothing else."""
    body = problem.body()
    length = (b"content-length", str(len(body)).encode())
    await wire.start(problem.status, (JSON_TYPE, length, *problem.headers))
    await wire.write(body, more=False)


def _note_gone(names: Names, gone: ClientGone) -> None:
    log.info(
        "request %s, turn %s: client %s",
        names.request_id.decode(),
        names.turn_id,
        gone.reason,
    )
