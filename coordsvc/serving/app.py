"""The application, for Serve: `import_path: coordsvc.serving.app:build`.

Five deployments at most: the ingress, up to three agents, and the engine. This module names real
things and joins them; what each does is in its own module, written without Ray where it can be.
"""

import asyncio
import logging
import time
from dataclasses import replace
from itertools import count
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from coordsvc import engines
from coordsvc.agents.conductor import Conductor
from coordsvc.agents.roles import ROLES, Budget, Role
from coordsvc.agents.worker import Worker
from coordsvc.clock import MonotonicClock
from coordsvc.core.desk import Desk
from coordsvc.core.dialogue import Phase
from coordsvc.core.units import AgentId, DeskId, NodeId, RoleId, of_tenant
from coordsvc.ports import Engine, Engines, OfferDesk, Turns
from coordsvc.serving.actors import AllocatorInRay, AppActors, start_actors
from coordsvc.serving.agent_calls import ServeAgents
from coordsvc.serving.agent_replica import AgentReplica
from coordsvc.serving.autoscaling import engine_config, ingress_config
from coordsvc.serving.desk_link import LinkedDesk
from coordsvc.serving.engine_calls import ServeEngines
from coordsvc.serving.engine_replica import EngineReplica
from coordsvc.serving.http.app import build_app
from coordsvc.serving.http.dialogue_log import begin_dialogue_log
from coordsvc.serving.http.door import Door
from coordsvc.serving.http.keys import Keyring, open_to_others
from coordsvc.serving.instruments_line import InstrumentsLine
from coordsvc.serving.log_lines import begin_log
from coordsvc.serving.ray_pool import RayPool, instruments_name
from coordsvc.serving.scaling_reports import SummedTurns
from coordsvc.serving.tenant_desks import TenantDesks
from coordsvc.serving.tracing import Tracing
from coordsvc.settings import AppSettings, check
from coordsvc.settings.baseline import measured_baseline

log = logging.getLogger(__name__)

ENGINE = "Engine"
"""The engine deployment's name."""
PIN_ROUTER = "coordsvc.serving.router:PinRouter"
HEALTH_PERIOD_S = 2
"""How often Serve looks whether a replica lives; a dead one is replaced no sooner. Serve's own 10 s
would leave an agent with half of its replicas for as long."""
PREEMPTED_S = 10.0
"""How long a stopping engine may take beyond its drain: to preempt what still runs, and end."""
DRAIN_LOOK_S = 0.5
"""How often a stopping engine looks whether its calls have ended; Serve's own 2 s keep a placement
group for nothing."""
CALLS_MAX = 100_000
"""Serve's own limit on calls at once is put out of the way where grants or the door limit."""

QUIET = LoggingConfig(enable_access_log=False)
"""A line for each call between deployments would say what the turn's account says, and cost more.
"""


class EngineDeployment(EngineReplica):
    """An engine replica in Serve: its placement group is its node."""

    guarded = True
    allocator: type[AllocatorInRay] = AllocatorInRay

    async def __init__(self, settings: AppSettings) -> None:  # type: ignore[misc]
        begin_log()
        context = serve.get_replica_context()
        baseline = measured_baseline(settings.baseline, settings.engine)
        super().__init__(
            self.engine(settings),
            NodeId(context.replica_id.unique_id),
            settings.node.capacity.resources(),
            settings.node.attributes,
            RayPool(context.app_name),
            MonotonicClock(),
            reserved={
                RoleId(agent): bundle.resources()
                for agent, bundle in settings.node.reserved.items()
            },
            guarded=self.guarded,
        )
        self.log_text = settings.http.log_text
        start_actors(
            AppActors(
                app=context.app_name,
                engine=context.deployment,
                terms=settings.terms(),
                decision_log=settings.decision_log.terms() if settings.decision_log else None,
                baseline=baseline,
                collapse=settings.collapse,
                metrics=settings.metrics,
            ),
            self.allocator,
        )
        self.info = await self.start()

    def engine(self, settings: AppSettings) -> Engine:
        """Return what this replica computes with."""
        return engines.build(settings.engine)

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
        begin_log()
        checker = settings.agents.checker
        budget = Budget(
            plan_tokens=settings.agents.planner.tokens_max,
            check_tokens=checker.tokens_max if checker else 0,
        )
        demand = settings.agents.by_id()[agent].demand.resources()
        role, engines, clock = self.role(agent), self.engines(engine), MonotonicClock()

        def employ(tenant: str) -> tuple[Worker, LinkedDesk | None]:
            desk = self.desk(agent, settings, tenant)
            worker = Worker(role, dict.fromkeys(Phase, demand), budget, desk, engines, clock)
            return worker, desk if isinstance(desk, LinkedDesk) else None

        self._pool = RayPool(serve.get_replica_context().app_name)
        self._numbers = count(1)
        self._desks = TenantDesks(settings.tenants, employ, clock)
        super().__init__(self._desks.worker_for, log_text=settings.http.log_text)

    def role(self, agent: AgentId) -> Role:
        """Return what this replica's agent asks and reads."""
        return ROLES[agent]

    def engines(self, engine: DeploymentHandle[Any]) -> Engines:
        """Return what this replica's phases run on."""
        return ServeEngines(engine)

    def desk(self, agent: AgentId, settings: AppSettings, tenant: str) -> OfferDesk:
        """Return where this replica takes offers from, for one tenant or for nobody's turns."""
        own = settings.agents.by_id()[agent]
        terms = settings.offers.desk_terms()
        if tenant:
            terms = replace(terms, ahead_min=0)  # many tenants would hold the pool for nothing
        replica = serve.get_replica_context().replica_id.unique_id
        desk = Desk(
            desk=DeskId(f"{replica}/{tenant}.{next(self._numbers)}" if tenant else replica),
            agent=of_tenant(tenant, agent),
            bundle=own.demand.resources(),
            terms=terms,
            where=own.where(),
            least=own.least.resources() if own.least else None,
        )
        linked = LinkedDesk(desk, self._pool, MonotonicClock())
        linked.start()
        return linked


class IngressDeployment:
    """The HTTP door in Serve, and the conductor behind it."""

    _tracing = Tracing()

    async def __init__(  # type: ignore[misc]
        self,
        settings: AppSettings,
        engine: DeploymentHandle[Any],
        agents: dict[AgentId, DeploymentHandle[Any]],
    ) -> None:
        begin_log()
        context = serve.get_replica_context()
        self._settings = settings
        model, self._emulated = await engine.options(method_name="model").remote()
        self._model = settings.served_model or model
        if settings.http.log_text:
            begin_dialogue_log()
        self._clock = MonotonicClock()
        line = InstrumentsLine(instruments_name(context.app_name))
        recorder = SummedTurns(line)
        self._sums = recorder.sums
        self._keys = (
            Keyring(settings.keys, self._clock, line.refused, settings.tenants)
            if settings.keys
            else None
        )
        if settings.keys is None:
            await asyncio.to_thread(_warn_if_open)
        facts = {
            "service.instance.id": context.replica_id.unique_id,
            "coordsvc.app": context.app_name,
        }
        self._tracing = Tracing.of(settings, model, facts, self._clock, line.spans_dropped)
        self._conductor = Conductor(
            ServeAgents(agents),
            settings.rules(),
            self._clock,
            recorder,
            tracer=self._tracing.tracer,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        door = Door(
            model=self._model,
            created=int(time.time()),
            clock=self._clock,
            ready=self._ready,
            settings=self._settings.http,
            keys=self._keys,
            emulated=self._emulated,
            sampling=self._tracing.sampling,
            tracer=self._tracing.tracer,
        )
        return build_app(self.turns(self._conductor), door)

    def turns(self, conductor: Conductor) -> Turns:
        """Return who answers turns."""
        return conductor

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what turns came to so far; Serve asks regularly, where it scales."""
        return self._sums.report()

    async def _ready(self) -> str | None:
        return None

    async def __del__(self) -> None:
        await self._tracing.stop()


def _warn_if_open() -> None:
    serving = _get_global_client()
    assert serving is not None, "a replica is part of Serve"
    warning = open_to_others(str(serving.http_config.host))
    if warning is not None:
        log.warning(warning)


def build(args: dict[str, Any]) -> serve.Application:
    """Return the application that `args` describe; raise `SettingsError` if they are wrong."""
    return compose(check(args))


def compose(
    settings: AppSettings,
    engine_class: type[EngineDeployment] = EngineDeployment,
    agent_class: type[AgentDeployment] = AgentDeployment,
    router: str = PIN_ROUTER,
    ingress_class: type[IngressDeployment] = IngressDeployment,
) -> serve.Application:
    """Join the deployments; benches put classes of their own in the places of ours."""
    scaling = settings.scaling
    engine = serve.deployment(
        name=ENGINE,
        max_ongoing_requests=CALLS_MAX,
        request_router_config=RequestRouterConfig.model_validate({"request_router_class": router}),
        placement_group_bundles=[{"CPU": 1.0}],
        placement_group_strategy="STRICT_PACK",
        health_check_period_s=HEALTH_PERIOD_S,
        logging_config=QUIET,
        graceful_shutdown_timeout_s=settings.node.drain_s + PREEMPTED_S,
        graceful_shutdown_wait_loop_s=DRAIN_LOOK_S,
        autoscaling_config=engine_config(scaling) if scaling else None,
    )(engine_class).bind(settings)
    agents = {
        agent: serve.deployment(
            name=agent.capitalize(),
            max_ongoing_requests=CALLS_MAX,
            health_check_period_s=HEALTH_PERIOD_S,
            ray_actor_options={"num_cpus": 0.1},
            logging_config=QUIET,
        )(agent_class).bind(agent, settings, engine)
        for agent in settings.agents.by_id()
    }
    return serve.deployment(
        name="Ingress",
        max_ongoing_requests=CALLS_MAX,
        health_check_period_s=HEALTH_PERIOD_S,
        ray_actor_options={"num_cpus": 0.1},
        autoscaling_config=ingress_config(scaling) if scaling else None,
    )(serve.ingress()(ingress_class)).bind(settings, engine, agents)
