"""One engine replica: an accelerator's worth of model behind its own guard."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from coordsvc.core.errors import EngineBroken
from coordsvc.core.generation import Chunk, EngineInfo, GenerationRequest
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import NodeId, RoleId
from coordsvc.ports import Clock, Engine
from coordsvc.serving.guarded import GuardedNode
from coordsvc.serving.pool import Failure, Pool


class EngineReplica(GuardedNode):
    """Runs granted work on one engine."""

    def __init__(
        self,
        engine: Engine,
        node: NodeId,
        capacity: Resources,
        attributes: Mapping[str, str],
        pool: Pool,
        clock: Clock,
        *,
        reserved: Mapping[RoleId, Resources] | None = None,
        guarded: bool = True,
    ) -> None:
        super().__init__(node, capacity, pool, clock, reserved=reserved, guarded=guarded)
        self._engine = engine
        self._attributes = dict(attributes)
        self._batch_max = 0

    async def start(self) -> EngineInfo:
        """Load the engine, then keep asking to be joined while nobody watches."""
        info = await self._engine.start()
        self._batch_max = info.batch_max
        self._join({"model": info.model, "engine": info.kind, **self._attributes})
        return info

    async def run(
        self, request: GenerationRequest, grant: Grant, *, node: str | None = None
    ) -> Chunk | Refusal | Failure:
        """Return the whole reply as one chunk; `node` is for the router."""
        del node
        pieces: list[str] = []
        async with aclosing(self._work(request, grant)) as chunks:
            async for chunk in chunks:
                if not isinstance(chunk, Chunk):
                    return chunk
                pieces.append(chunk.text)
                if chunk.report is not None:
                    return Chunk("".join(pieces), chunk.report)
        raise EngineBroken("the engine ended without a report")

    async def stream(
        self, request: GenerationRequest, grant: Grant, *, node: str | None = None
    ) -> AsyncGenerator[Chunk | Refusal | Failure]:
        """Yield the reply as it is made; `node` is for the router."""
        del node
        async with aclosing(self._work(request, grant)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def journal(self, *, node: str | None = None) -> dict[str, Any]:
        """Return what the guard has counted, and what runs now."""
        del node
        counted = self._guard.journal
        return {
            "node": self._node,
            "admitted": counted.admitted,
            "finished": counted.finished,
            "refused": {reason.value: count for reason, count in counted.refused.items()},
            "broken_reservations": counted.broken_reservations,
            "running": len(self._guard.running()),
            "in_engine": self._engine.running(),
        }

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return how much of the engine was taken so far; Serve asks regularly, where it scales."""
        return self._sums.report(self._clock.now())

    def check_health(self) -> None:
        """Raise `EngineBroken` if this replica should be replaced; Serve asks regularly."""
        self._engine.check()

    async def stop(self) -> None:
        """End all work; Serve has drained the replica before."""
        self._leave()
        await self._engine.stop()

    def waiting(self) -> int:
        """Return how many requests wait inside the engine."""
        return max(0, self._engine.running() - self._batch_max)

    def is_last(self, item: Chunk) -> bool:
        """Tell whether a chunk is its reply's last."""
        return item.report is not None

    def _work(
        self, request: GenerationRequest, grant: Grant
    ) -> AsyncGenerator[Chunk | Refusal | Failure]:
        return self._granted(
            self._engine.generate(request), grant, warms=request.prefix_key, who="an engine"
        )
