"""The application, for Serve: `import_path: coordsvc.serving.app:build`.

Five deployments at most: the ingress, up to three agents, and the engine. This module names real
things and joins them; what each does is in its own module, written without Ray where it can be.
"""

import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from coordsvc import engines
from coordsvc.agents.conductor import Conductor
from coordsvc.agents.roles import ROLES, Budget
from coordsvc.agents.worker import Worker
from coordsvc.core.accounting import PhaseDone, PhaseEvent
from coordsvc.core.desk import Desk
from coordsvc.core.dialogue import Phase, PhaseWork
from coordsvc.core.units import AgentId, DeskId, NodeId
from coordsvc.serving.actors import AppActors, start_actors
from coordsvc.serving.agent_calls import ServeAgents
from coordsvc.serving.agent_replica import AgentReplica
from coordsvc.serving.clock import MonotonicClock
from coordsvc.serving.desk_link import LinkedDesk
from coordsvc.serving.engine_calls import ServeEngines
from coordsvc.serving.engine_replica import EngineReplica
from coordsvc.serving.http.app import build_app
from coordsvc.serving.http.door import Door
from coordsvc.serving.instruments import InstrumentsLine
from coordsvc.serving.pool import Pool, instruments_name
from coordsvc.serving.wire import Failure
from coordsvc.settings import AppSettings, check

ENGINE = "Engine"
"""The engine deployment's name."""
PIN_ROUTER = "coordsvc.serving.router:PinRouter"
CALLS_MAX = 100_000
"""Serve's own limit on calls at once is put out of the way where grants or the door limit."""


class EngineDeployment(EngineReplica):
    """An engine replica in Serve: its placement group is its node."""

    async def __init__(self, settings: AppSettings) -> None:  # type: ignore[misc]
        context = serve.get_replica_context()
        super().__init__(
            engines.build(settings.engine),
            NodeId(context.replica_id.unique_id),
            settings.node.capacity.resources(),
            settings.node.attributes,
            Pool(context.app_name),
        )
        start_actors(
            AppActors(
                app=context.app_name,
                engine=context.deployment,
                terms=settings.terms(),
                metrics_host=settings.metrics.host,
                metrics_port=settings.metrics.port,
            )
        )
        self.info = await self.start()

    async def model(self, *, node: str | None = None) -> tuple[str, bool]:
        """Return the model's name, and whether its replies are emulated."""
        del node
        return self.info.model, self.info.emulated

    async def __del__(self) -> None:
        await self.stop()


class AgentDeployment(AgentReplica):
    """An agent's replica in Serve, with its desk."""

    async def __init__(  # type: ignore[misc]
        self, agent: AgentId, settings: AppSettings, engine: DeploymentHandle[Any]
    ) -> None:
        context = serve.get_replica_context()
        clock = MonotonicClock()
        own = settings.agents.by_id()[agent]
        desk = Desk(
            desk=DeskId(context.replica_id.unique_id),
            agent=agent,
            bundle=own.demand.resources(),
            terms=settings.offers.desk_terms(),
            requires=own.requires,
        )
        self._desk = LinkedDesk(desk, Pool(context.app_name), clock)
        self._desk.start()
        checker = settings.agents.checker
        budget = Budget(
            plan_tokens=settings.agents.planner.tokens_max,
            check_tokens=checker.tokens_max if checker else 0,
        )
        super().__init__(
            Worker(
                ROLES[agent],
                dict.fromkeys(Phase, own.demand.resources()),
                budget,
                self._desk,
                ServeEngines(engine),
                clock,
            )
        )

    async def work(self, work: PhaseWork) -> PhaseDone | Failure:
        """Do the phase, and return its end."""
        return await super().work(work)

    async def stream(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent | Failure]:
        """Do the phase, and yield its pieces and its end."""
        async for event in super().stream(work):
            yield event

    def __del__(self) -> None:
        self._desk.stop()


@serve.ingress()
class IngressDeployment:
    """The HTTP door in Serve, and the conductor behind it."""

    async def __init__(  # type: ignore[misc]
        self,
        settings: AppSettings,
        engine: DeploymentHandle[Any],
        agents: dict[AgentId, DeploymentHandle[Any]],
    ) -> None:
        context = serve.get_replica_context()
        self._settings = settings
        model, self._emulated = await engine.options(method_name="model").remote()
        self._model = settings.served_model or model
        self._clock = MonotonicClock()
        self._conductor = Conductor(
            ServeAgents(agents),
            settings.rules(),
            self._clock,
            InstrumentsLine(instruments_name(context.app_name)),
        )

    def __serve_build_asgi_app__(self) -> FastAPI:  # noqa: PLW3201
        door = Door(
            model=self._model,
            created=int(time.time()),
            clock=self._clock,
            ready=self._ready,
            settings=self._settings.http,
            emulated=self._emulated,
        )
        return build_app(self._conductor, door)

    async def _ready(self) -> str | None:
        return None


def build(args: dict[str, Any]) -> serve.Application:
    """Return the application that `args` describe; raise `SettingsError` if they are wrong."""
    settings = check(args)
    engine = serve.deployment(
        name=ENGINE,
        max_ongoing_requests=CALLS_MAX,
        request_router_config=RequestRouterConfig(request_router_class=PIN_ROUTER),
        placement_group_bundles=[{"CPU": 1.0}],
        placement_group_strategy="STRICT_PACK",
        health_check_period_s=2,
        graceful_shutdown_timeout_s=30,
    )(EngineDeployment).bind(settings)
    agents = {
        agent: serve.deployment(
            name=agent.capitalize(),
            max_ongoing_requests=CALLS_MAX,
            ray_actor_options={"num_cpus": 0.1},
        )(AgentDeployment).bind(agent, settings, engine)
        for agent in settings.agents.by_id()
    }
    return serve.deployment(
        name="Ingress", max_ongoing_requests=CALLS_MAX, ray_actor_options={"num_cpus": 0.1}
    )(IngressDeployment).bind(settings, engine, agents)
