"""Traces in an ingress replica: whether there are any, and who is told of what they lose."""

import asyncio
import os
from collections.abc import Callable
from typing import Self

from coordsvc.core.spans import Named
from coordsvc.core.trace import Sampling
from coordsvc.ports import Clock, TurnTracer
from coordsvc.settings import AppSettings


class Tracing:
    """What a door and its conductor need for traces; nothing at all where none are made."""

    def __init__(
        self,
        sampling: Sampling | None = None,
        tracer: TurnTracer | None = None,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self.sampling = sampling
        self.tracer = tracer
        self._stop = stop

    @classmethod
    def of(
        cls,
        settings: AppSettings,
        engine_model: str,
        service: dict[str, str],
        clock: Clock,
        lost: Callable[[int], None],
    ) -> Self:
        """Return what `settings` and the environment ask for; to be called on the event loop.

        `service` holds more facts for the spans' resource; `lost` hears on the loop how many spans
        were lost.
        """
        terms = settings.tracing.terms(os.environ, service)
        if terms is None:
            return cls()
        from coordsvc.telemetry.tracing import TurnTraces  # noqa: PLC0415 - takes 0.1 s

        loop = asyncio.get_running_loop()

        def tell(count: int) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lost, count)

        named = Named(
            model=settings.served_model or engine_model,
            engine_model=engine_model,
            engine=settings.engine.kind,
            text_chars_max=terms.text_chars_max,
        )
        traces = TurnTraces(terms, named, clock, tell)
        return cls(terms.sampling, traces, traces.stop)

    async def stop(self) -> None:
        """Have what is left sent; a collector that is away is not waited for long."""
        if self._stop is not None:
            await asyncio.to_thread(self._stop)
