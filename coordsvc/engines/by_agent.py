"""The engine on OpenVINO where agents have adapters: a pipeline for the base and one for each.

Why. OpenVINO's adapters belong to a batch and not to a request, do nothing on a .gguf, and share a
prefix cache that is not theirs. So each agent's adapter is merged into the weights of a pipeline of
its own, with a prefix cache of its own. They share the batch's places, as they share the machine: a
request waits here, not inside, and that is its queue. Each pipeline costs memory for its weights
and cache; pipelines that work at the same time share the cores, and each batches its own requests
only.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from coordsvc.clock import MonotonicClock
from coordsvc.core.errors import EngineBroken
from coordsvc.core.generation import Chunk, EngineInfo, GenerationRequest
from coordsvc.core.units import Micros, since
from coordsvc.engines.adapters import Adapter, read_all, require_known
from coordsvc.engines.models import find
from coordsvc.engines.openvino import OpenVinoEngine
from coordsvc.engines.openvino_runtime import load
from coordsvc.engines.places import Places
from coordsvc.engines.settings import OpenVinoSettings
from coordsvc.ports import Clock, Engine

Make = Callable[[OpenVinoSettings, Adapter | None], Engine]
"""Makes the engine of one adapter, or of the base; not yet started."""
BASE = ""


def pipeline(settings: OpenVinoSettings, adapter: Adapter | None) -> Engine:
    """Return an engine on OpenVINO with the adapter in its weights."""
    return OpenVinoEngine(settings, load=partial(load, adapter=adapter))


class ByAgentEngine:
    """The port `Engine` over several engines: a request goes to its adapter's."""

    def __init__(
        self,
        settings: OpenVinoSettings,
        make: Make = pipeline,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._make = make
        self._clock = clock or MonotonicClock()
        self._places = Places(settings.batch_max, settings.waiting_max)
        self._engines: dict[str, Engine] = {}
        self._broken: str | None = "the engine has not been started"

    async def start(self) -> EngineInfo:
        """Check all adapters, then load and calibrate one engine after another."""
        adapters = read_all(self._settings.adapters, find(self._settings.model, hub=False))
        alone = self._settings.model_copy(update={"adapters": {}})
        try:
            info = await self._add(BASE, self._make(alone, None))
            for adapter in adapters:
                await self._add(adapter.agent, self._make(alone, adapter))
        except BaseException:
            await self.stop()
            raise
        self._broken = None
        named = ",".join(adapter.agent for adapter in adapters)
        return replace(info, attributes={**info.attributes, "adapters": named})

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the reply of the agent's engine; the time until a place was free is queue."""
        arrived = self._clock.now()
        self.check()
        require_known(request.adapter, self._settings.adapters)
        if not self._places.take_now():
            await self._places.wait()
        waited = since(arrived, self._clock.now())
        try:
            self.check()
            engine = self._engines[request.adapter]
            async with aclosing(engine.generate(replace(request, adapter=BASE))) as chunks:
                async for chunk in chunks:
                    yield _queued(chunk, waited)
        finally:
            self._places.give_back()

    def running(self) -> int:
        """Return how many requests are inside, waiting ones included."""
        return self._places.inside

    def check(self) -> None:
        """Raise `EngineBroken` if any of the engines can no longer work."""
        if self._broken is not None:
            raise EngineBroken(self._broken)
        for engine in self._engines.values():
            engine.check()

    async def stop(self) -> None:
        """End all work and free every model."""
        self._broken = self._broken or "the engine was stopped"
        self._places.refuse_all(EngineBroken(self._broken))
        for engine in self._engines.values():
            await engine.stop()
        self._engines.clear()

    async def _add(self, name: str, engine: Engine) -> EngineInfo:
        # Kept before it has started, so that a start that fails is cleaned up too.
        self._engines[name] = engine
        return await engine.start()


def _queued(chunk: Chunk, waited: Micros) -> Chunk:
    """Return the chunk with the wait for a place in its report's queue time."""
    told = chunk.report
    if told is None or not waited:
        return chunk
    return replace(chunk, report=replace(told, queue_us=Micros(told.queue_us + waited)))
