"""`POST /v1/chat/completions` as a raw ASGI response: from admission to the last byte."""

import asyncio
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import TracebackType

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from coordsvc.core.dialogue import TurnRequest
from coordsvc.core.units import SECOND, Instant
from coordsvc.ports import Turns
from coordsvc.serving.http.body import read_body
from coordsvc.serving.http.dialogue_log import log_dialogue
from coordsvc.serving.http.door import Door
from coordsvc.serving.http.errors import Rejection, busy, unavailable
from coordsvc.serving.http.feed import Feed
from coordsvc.serving.http.middleware import Exchange, exchange_of
from coordsvc.serving.http.replies import Voice
from coordsvc.serving.http.request import turn_request
from coordsvc.serving.http.schema import ChatBody, parse
from coordsvc.serving.http.stream import tell_pieces, tell_whole


class Gate:
    """Counts the requests inside, and refuses one too many."""

    def __init__(self, limit: int, retry_after_s: int) -> None:
        self.inside = 0
        self._limit = limit
        self._retry_after_s = retry_after_s

    def __enter__(self) -> None:
        """Let one in, or refuse it with 429."""
        if self.inside >= self._limit:
            message = f"{self._limit} turns are in flight, and that is the limit; try again later"
            raise Rejection(busy(message, self._retry_after_s))
        self.inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let one out."""
        self.inside -= 1


class Chat(Response):
    """Answers every chat request; one instance serves them all."""

    def __init__(self, turns: Turns, door: Door) -> None:
        super().__init__()
        self._turns = turns
        self._door = door
        self._gate = Gate(door.settings.turns_in_flight_max, door.settings.retry_after_s)
        self._opened = False
        self._began = door.clock.now()
        self._tails: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer one request, through the exchange's wire instead of `send`."""
        exchange = exchange_of(scope)
        with self._gate, self._allowed(exchange):
            await self._check_ready()
            body = await read_body(scope["headers"], receive, self._door.settings)
            arrived = self._door.clock.now()
            ask = parse(body)
            tenant = exchange.caller.tenant if exchange.caller else ""
            request = turn_request(ask, exchange.names.turn_id, self._door, tenant)
            if exchange.names.sampled:
                request = replace(request, trace=exchange.names.trace())
            voice = self._voice(ask, request, arrived)
            await self._converse(request, arrived, voice, receive, exchange)

    def _allowed(self, exchange: Exchange) -> AbstractContextManager[None]:
        """Count the turn as its key's, or refuse it."""
        if self._door.keys is None or exchange.caller is None:
            return nullcontext()
        return self._door.keys.turn(exchange.caller)

    async def _converse(
        self,
        request: TurnRequest,
        arrived: Instant,
        voice: Voice,
        receive: Receive,
        exchange: Exchange,
    ) -> None:
        """Run the turn and tell it; whatever happens, it is closed afterwards."""
        exchange.names.is_turn = True
        log_text = self._door.settings.log_text
        events = self._turns.converse(request, arrived)
        feed = Feed(events, receive, exchange.wire, log_text=log_text)
        sent = False
        try:
            tell = tell_pieces if request.stream else tell_whole
            await tell(feed, exchange, voice)
            assert feed.mark is not None, "a turn is told once its result is in"
            self._turns.sent(request.turn_id, *exchange.wire.tail(feed.mark))
            sent = True
        finally:
            if log_text:
                log_dialogue(request, feed.result)
            if feed.result is not None and not sent:
                self._turns.unsent(request.turn_id)
            self._keep(await feed.close())

    def _voice(self, ask: ChatBody, request: TurnRequest, arrived: Instant) -> Voice:
        door, options = self._door, ask.stream_options
        wanted = ask.coordsvc.account if ask.coordsvc else None
        return Voice(
            turn=request,
            model=door.model,
            created=door.created + (arrived - self._began) // SECOND,
            account=door.settings.account if wanted is None else wanted,
            usage=bool(options and options.include_usage),
            emulated=door.emulated,
        )

    async def _check_ready(self) -> None:
        """Refuse turns until the service was ready once; from then on turns tell for themselves."""
        if self._opened:
            return
        reason = await self._door.ready()
        if reason is not None:
            wait = self._door.settings.retry_after_s
            raise Rejection(unavailable(f"not ready yet: {reason}", "not_ready", wait))
        self._opened = True

    def _keep(self, tail: asyncio.Task[None] | None) -> None:
        """Hold on to a turn that outlives its reply: asyncio itself would not."""
        if tail is not None:
            self._tails.add(tail)
            tail.add_done_callback(self._tails.discard)
