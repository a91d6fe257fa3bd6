"""The way out to one client: names on every response, a limit on waiting, and its price.

A turn's last step begins when its result is in (`mark`) and ends when the last byte is handed
over. What of it was spent in `send` is the client's waiting, the rest is ours. Waiting in `send`
before the result was in has cost the turn nothing, because the turn goes on meanwhile.
"""

import asyncio
from typing import NamedTuple

from starlette.types import Message, Send

from coordsvc.core.units import Instant, Micros, since
from coordsvc.ports import Clock
from coordsvc.serving.http.errors import ClientGone, Headers
from coordsvc.serving.http.trace import Names


class Mark(NamedTuple):
    """An instant, and how long the wire had waited for its client until then."""

    at: Instant
    waited_us: Micros


class Wire:
    """One response's `send`."""

    __slots__ = ("_began", "_clock", "_names", "_send", "_slow_s", "_waited", "finished", "started")

    def __init__(self, send: Send, clock: Clock, names: Names, slow_client_s: float) -> None:
        self._send = send
        self._clock = clock
        self._names = names
        self._slow_s = slow_client_s
        self._waited = Micros(0)
        self._began: Instant | None = None
        self.started = False
        self.finished = False

    async def send(self, message: Message) -> None:
        """Hand `message` to the transport; `ClientGone` if it is not taken in time."""
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", ()), *self._names.headers()]
        self._began = self._clock.now()
        try:
            async with asyncio.timeout(self._slow_s):
                await self._send(message)
        except TimeoutError as error:
            raise ClientGone(f"took no byte for {self._slow_s} s") from error
        except OSError as error:
            raise ClientGone from error
        finally:
            self._waited = self._waited_by(self._clock.now())
            self._began = None
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.finished = True

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and the headers."""
        await self.send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the body; without `more`, it is the last one."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    def mark(self) -> Mark:
        """Return the beginning of a turn's last step: now."""
        now = self._clock.now()
        return Mark(now, self._waited_by(now))

    def tail(self, mark: Mark) -> tuple[Micros, Micros]:
        """Return (our own time, waiting for the client) since `mark`; their sum is the time."""
        now = self._clock.now()
        waited = Micros(self._waited_by(now) - mark.waited_us)
        return Micros(max(0, since(mark.at, now) - waited)), waited

    def _waited_by(self, now: Instant) -> Micros:
        if self._began is None:
            return self._waited
        return Micros(self._waited + since(self._began, now))
