"""The three-agent turn in other structures, to compare the offers with: for `bench overhead`.

Each is the product's own chain, composed by the product's own `compose`, with one thing taken out.
"""

from typing import Any, cast

from ray import serve

from coordsvc.bench.open_desk import OpenDesk
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, NodeId
from coordsvc.ports import OfferDesk
from coordsvc.serving.actors import AllocatorInRay, AppActors
from coordsvc.serving.app import AgentDeployment, EngineDeployment, compose
from coordsvc.settings import AppSettings, check

SERVE_ROUTER = "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter"
"""What Serve 2.60 routes with where nothing else is named."""
ANYWHERE = cast("NodeId", None)
"""A pin router that is named no node takes turns, as Serve's own does."""


class NoAllocator(AllocatorInRay):
    """An actor in the allocator's place that never does anything."""

    async def __init__(self, wanted: AppActors) -> None:  # type: ignore[misc]
        del wanted

    async def settle(self, terms: Terms) -> None:
        """Take note of nothing."""


class OpenEngine(EngineDeployment):
    """The same engine without its guard: it runs whatever it is sent."""

    guarded = False
    allocator = NoAllocator


class DesklessAgent(AgentDeployment):
    """The same agent, which asks nobody for leave."""

    def desk(self, agent: AgentId, settings: AppSettings, tenant: str) -> OfferDesk:
        """Return a desk that says yes."""
        del settings, tenant
        return OpenDesk(agent, ANYWHERE)


def no_desk(args: dict[str, Any]) -> serve.Application:
    """Return the chain without desks and allocator, on the same router, which pins nothing."""
    return compose(check(args), OpenEngine, DesklessAgent)


def plain(args: dict[str, Any]) -> serve.Application:
    """Return the chain without desks and allocator, on Serve's own router."""
    return compose(check(args), OpenEngine, DesklessAgent, SERVE_ROUTER)
