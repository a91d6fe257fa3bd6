"""A fault planted on purpose: a takeover without a fence, to see that the measurement sees.

An allocator that takes over and does not ask engines what runs there gives away what is in use.
"""

from dataclasses import replace
from typing import Any

from ray import serve

from coordsvc.core.offers import Grant
from coordsvc.core.units import Epoch, OfferId
from coordsvc.serving.actors import AllocatorInRay
from coordsvc.serving.app import EngineDeployment, compose
from coordsvc.serving.engine_link import ServeEngineLink
from coordsvc.serving.pool import EngineLink, NodeCard, Watched
from coordsvc.settings import check

FIRST = 1
"""The first allocator of all has to fence, for an engine that never was obeys nobody."""


class UnfencedLink(ServeEngineLink):
    """A line on which no engine hears of a takeover."""

    async def fence(self, epoch: Epoch, above: OfferId) -> tuple[Grant, ...] | None:
        """Say that nothing runs there, without asking."""
        return await super().fence(epoch, above) if epoch.n == FIRST else ()

    async def watch(self, epoch: Epoch, wait_s: float) -> Watched:
        """Return the engine's word, but not that it obeys another allocator."""
        return replace(await super().watch(epoch, wait_s), superseded=False)


class UnfencedAllocator(AllocatorInRay):
    """An allocator that takes over without a fence."""

    def link_to(self, card: NodeCard) -> EngineLink:
        """Return the line to an engine replica."""
        return UnfencedLink(self._engine, card.node)


class UnfencedEngine(EngineDeployment):
    """The same engine, in an application with that allocator."""

    allocator = UnfencedAllocator


def unfenced(args: dict[str, Any]) -> serve.Application:
    """Return the application with an allocator that does not fence."""
    return compose(check(args), UnfencedEngine)
