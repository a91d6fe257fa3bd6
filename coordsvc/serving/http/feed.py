"""A turn on its way to one client: pulled as fast as it comes, dropped when nobody listens.

Two tasks a turn. The pump takes events from the turn without ever waiting for the client, so a
slow reader holds no grant; what the client has not taken yet is bounded by the reply itself, whose
length `max_tokens` bounds. The watch waits for the client to hang up, and then ends the pump,
which closes the turn. A turn whose result is in is left to end by itself: its check may still run.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Receive

from coordsvc.core.accounting import Delta, TurnEvent, TurnResult
from coordsvc.serving.bugs import bug_told
from coordsvc.serving.http.errors import ClientGone, is_ours_to_fix
from coordsvc.serving.http.wire import Mark, Wire

log = logging.getLogger(__name__)


class Feed:
    """What one turn has said and the client has not yet been told."""

    def __init__(
        self,
        events: AsyncGenerator[TurnEvent],
        receive: Receive,
        wire: Wire,
        *,
        log_text: bool = False,
    ) -> None:
        """Without `log_text` no error is logged in words that may repeat a dialogue."""
        self._log_text = log_text
        self.result: TurnResult | None = None
        self.mark: Mark | None = None
        """When the result was in; set with it."""
        self._wire = wire
        self._texts: list[str] = []
        self._gone = False
        self._heard = False
        self._news = asyncio.Event()
        self._pump = asyncio.create_task(self._pull(events))
        self._pump.add_done_callback(lambda _: self._news.set())
        self._watch = asyncio.create_task(_hang_up(receive))
        self._watch.add_done_callback(self._watch_ended)

    async def take(self) -> str:
        """Return the text that has come since the last call; waits for some, or for the result.

        Raises what the turn raises, and `ClientGone`.
        """
        while not self._texts and self.result is None:
            if self._pump.done() and not self._pump.cancelled():
                self._heard = True
                self._pump.result()
                raise AssertionError("a turn's last event is its result")
            if self._gone:
                raise ClientGone
            if self._pump.done():
                raise AssertionError("a turn was cancelled from within")
            self._news.clear()
            await self._news.wait()
        text = "".join(self._texts)
        self._texts.clear()
        return text

    async def close(self) -> asyncio.Task[None] | None:
        """End the turn unless its result is in; return what of it still runs, to be kept alive."""
        self._watch.cancel()
        if self.result is not None and not self._pump.done():
            self._pump.add_done_callback(self._log_unheard)
            return self._pump
        self._pump.cancel()
        await asyncio.wait({self._pump})
        self._log_unheard(self._pump)
        return None

    async def _pull(self, events: AsyncGenerator[TurnEvent]) -> None:
        async with aclosing(events):
            async for event in events:
                assert self.result is None, "nothing follows a turn's result"
                if isinstance(event, Delta):
                    if event.text:
                        self._texts.append(event.text)
                        self._news.set()
                else:
                    self.mark = self._wire.mark()
                    self.result = event
                    self._news.set()

    def _log_unheard(self, pump: asyncio.Task[None]) -> None:
        """Log a bug that `take` has told nobody of: after the reply, or after the client left."""
        error = None if pump.cancelled() else pump.exception()
        if isinstance(error, Exception) and not self._heard and is_ours_to_fix(error):
            why = bug_told(error, words=self._log_text)
            log.error("a turn failed after its reply, or after its client left\n%s", why)

    def _watch_ended(self, watch: asyncio.Task[None]) -> None:
        if watch.cancelled():
            return
        watch.exception()  # a transport that breaks is a client that left
        self._gone = True
        if self.result is None:
            self._pump.cancel()
        self._news.set()


async def _hang_up(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
