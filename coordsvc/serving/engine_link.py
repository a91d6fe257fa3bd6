"""The allocator's line to one engine replica."""

import asyncio
from contextlib import suppress
from typing import Any

from ray.serve.handle import DeploymentHandle

from coordsvc.core.errors import NodeGone
from coordsvc.core.offers import Grant
from coordsvc.core.units import Epoch, NodeId, OfferId
from coordsvc.serving.pool import Watched
from coordsvc.serving.wire import quick, translated, unary

ANSWER_S = 10.0
"""An engine that has not answered for so long is asked again; only death ends the line."""


class ServeEngineLink:
    """Reaches an engine replica through Serve, pinned by its node id."""

    def __init__(self, engine: DeploymentHandle[Any], node: NodeId) -> None:
        self._node = node
        self._fence = quick(engine, "fence")
        self._void = quick(engine, "void")
        self._preempt = quick(engine, "preempt")
        self._watch = quick(engine, "watch")
        self._left = quick(engine, "left")

    async def fence(self, epoch: Epoch, above: OfferId) -> tuple[Grant, ...] | None:
        """Have unstarted work of earlier epochs refused; return all that runs there."""
        running: tuple[Grant, ...] | None = await self._ask(self._fence, epoch, above)
        return running

    async def void(self, offer_id: OfferId) -> bool:
        """Have the offer never started; return whether it runs already."""
        answer: dict[OfferId, bool] = await self._ask(self._void, (offer_id,))
        return answer[offer_id]

    async def preempt(self, offer_id: OfferId) -> None:
        """Have what runs under the grant ended now; its phase goes on elsewhere."""
        await self._ask(self._preempt, offer_id)

    async def watch(self, epoch: Epoch, wait_s: float) -> Watched:
        """Return the engine's word after `wait_s`; raise `NodeGone` as soon as it dies."""
        word: Watched = await self._ask(self._watch, epoch, wait_s)
        return word

    async def left(self) -> None:
        """Return as soon as Serve has chosen to stop the replica; the router answers the call."""
        with suppress(NodeGone):
            async with translated(NodeGone, f"engine {self._node}"):
                await unary(self._left.remote(node=self._node))

    async def _ask(self, method: Any, *args: object) -> Any:
        while True:
            async with translated(NodeGone, f"engine {self._node}"):
                try:
                    async with asyncio.timeout(ANSWER_S):
                        return await unary(method.remote(*args, node=self._node))
                except TimeoutError:
                    continue  # slow is not dead; asking again does no harm
