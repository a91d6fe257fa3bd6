"""Where plain classes become Ray actors: the allocator and the instruments, one each per app.

Both are named, detached and restarted for ever: they belong to the application, not to whoever
happened to need them first. Starting one that is there already changes nothing.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.actor import ActorHandle

from coordsvc.clock import MonotonicClock
from coordsvc.core.baseline import Baseline
from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.core.terms import Terms
from coordsvc.serving.admin import Operations
from coordsvc.serving.allocator_actor import AllocatorActor
from coordsvc.serving.deployed import Deployed
from coordsvc.serving.engine_link import ServeEngineLink
from coordsvc.serving.instruments import Instruments
from coordsvc.serving.instruments_line import InstrumentsLine
from coordsvc.serving.kept import Kept
from coordsvc.serving.operator import Operator
from coordsvc.serving.pool import EngineLink, NodeCard
from coordsvc.serving.ray_pool import NAMESPACE, allocator_name, find, instruments_name
from coordsvc.settings.collapse import CollapseSettings
from coordsvc.settings.metrics import MetricsSettings
from coordsvc.telemetry.decision_log import DecisionLog, DecisionLogTerms

CALLS_AT_ONCE = 10_000
"""Two long calls for each desk, and one for each engine, stay open at the allocator."""
HEAD_RESOURCE = "node:__internal_head__"
"""Ray's own mark of the head node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppActors:
    """What an application's actors are started with."""

    app: str
    engine: str
    """The engine deployment's name."""
    terms: Terms
    decision_log: DecisionLogTerms | None
    baseline: Baseline | None = None
    """What S_measured compares with; None takes the engines' own prediction."""
    metrics: MetricsSettings
    collapse: CollapseSettings = CollapseSettings()


class AllocatorInRay(AllocatorActor):
    """The allocator, with the real things it needs; rebuilt whole when Ray restarts it."""

    async def __init__(self, wanted: AppActors) -> None:  # type: ignore[misc]
        self._engine: Any = serve.get_deployment_handle(wanted.engine, app_name=wanted.app)
        line = InstrumentsLine(instruments_name(wanted.app))
        kept = Kept(wanted.app)
        deployed, terms = kept.terms() or (wanted.terms, wanted.terms)
        super().__init__(
            kept.claim_epoch(),
            terms,
            MonotonicClock(),
            self.link_to,
            line.snapshot,
            DecisionLog(wanted.decision_log) if wanted.decision_log else None,
            deployed=deployed,
            remember=kept.keep_terms,
        )
        self.start()

    def link_to(self, card: NodeCard) -> EngineLink:
        """Return the line to an engine replica."""
        return ServeEngineLink(self._engine, card.node)


class InstrumentsInRay(Instruments):
    """The instruments, with Serve and Ray to ask."""

    async def __init__(self, wanted: AppActors) -> None:  # type: ignore[misc]
        kept = Kept(wanted.app)
        told = wanted.metrics
        port = told.port or kept.metrics_port() or 0
        super().__init__(
            told.host,
            port,
            MonotonicClock(),
            lambda: _operations(wanted.app),
            kept.key_files() or (told.key_file, told.admin_key_file),
        )
        self._kept = kept
        kept.keep_metrics_port(await self.port())
        await self.compare_with(wanted.baseline)
        await self.watch_for(wanted.collapse.terms(), wanted.collapse.window_us)
        deployed = Deployed(wanted.app, wanted.engine)
        self._asking = asyncio.create_task(self.keep_asking(deployed.look))

    async def ask_for(self, key_file: str | None, admin_key_file: str | None) -> None:
        """Take the keys of the port from these files, in lives to come as well."""
        self._kept.keep_key_files(key_file, admin_key_file)
        await super().ask_for(key_file, admin_key_file)


def start_actors(wanted: AppActors, allocator: type[AllocatorInRay] = AllocatorInRay) -> None:
    """Have the application's allocator and instruments running, on the head node."""
    instruments = _start(
        InstrumentsInRay,
        instruments_name(wanted.app),
        args=(wanted,),
        at_once=100,
    )
    instruments.compare_with.remote(wanted.baseline)
    instruments.watch_for.remote(wanted.collapse.terms(), wanted.collapse.window_us)
    instruments.ask_for.remote(wanted.metrics.key_file, wanted.metrics.admin_key_file)
    actor = _start(allocator, allocator_name(wanted.app), args=(wanted,), at_once=CALLS_AT_ONCE)
    actor.settle.remote(wanted.terms)  # it may be there since an earlier deployment


def stop_actors(app: str) -> None:
    """End the application's actors for good."""
    for name in (allocator_name(app), instruments_name(app)):
        if (actor := find(name)) is not None:
            ray.kill(actor, no_restart=True)
    Kept(app).forget()


def _operations(app: str) -> Operations:
    """Return the way to an application's pool; raise `CoordinationError` if there is none now."""
    try:
        return Operator(app)
    except BadRequest as error:
        raise CoordinationError("the allocator is not there now") from error


def _start(kind: type[Any], name: str, args: tuple[Any, ...], at_once: int) -> ActorHandle[Any]:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    on_head = {HEAD_RESOURCE: 0.001} if HEAD_RESOURCE in resources else {}
    actor: ActorHandle[Any] = (
        ray.remote(kind)
        .options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_concurrency=at_once,
            num_cpus=0,
            enable_task_events=False,  # a record of each call, for Ray's dashboard: not for nothing
            resources=on_head,
            scheduling_strategy="DEFAULT",  # else it would join its starter's placement group
        )
        .remote(*args)
    )
    return actor
