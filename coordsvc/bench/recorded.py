"""An engine that remembers each request it is given: so that the same work can be done again."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ray import serve

from coordsvc import engines
from coordsvc.core.generation import Chunk, EngineInfo, GenerationRequest
from coordsvc.ports import Engine
from coordsvc.serving.app import EngineDeployment, compose
from coordsvc.settings import AppSettings, check


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request, and how many tokens answered it."""

    request: GenerationRequest
    output_tokens: int


class RecordingEngine:
    """Passes everything to the engine inside, and remembers requests in the order they came."""

    def __init__(self, inside: Engine) -> None:
        self._inside = inside
        self.records: list[Recorded] = []

    async def start(self) -> EngineInfo:
        """Start the engine inside."""
        return await self._inside.start()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield what the engine inside yields."""
        async with aclosing(self._inside.generate(request)) as chunks:
            async for chunk in chunks:
                if chunk.report is not None:
                    self.records.append(Recorded(request, chunk.report.output_tokens))
                yield chunk

    def running(self) -> int:
        """Return how many requests are inside."""
        return self._inside.running()

    def check(self) -> None:
        """Check the engine inside."""
        self._inside.check()

    async def stop(self) -> None:
        """Stop the engine inside."""
        await self._inside.stop()


class RecordingDeployment(EngineDeployment):
    """The product's engine replica around an engine that remembers."""

    def engine(self, settings: AppSettings) -> Engine:
        """Return the product's engine, wrapped."""
        self._recording = RecordingEngine(engines.build(settings.engine))
        return self._recording

    async def recorded(self) -> list[Recorded]:
        """Return what has been asked since this was last called."""
        records, self._recording.records = self._recording.records, []
        return records


def build(args: dict[str, Any]) -> serve.Application:
    """Return the product's application with engines that remember."""
    return compose(check(args), RecordingDeployment)
