"""Where plain classes become Ray actors: the allocator and the instruments, one each per app.

Both are named, detached and restarted for ever: they belong to the application, not to whoever
happened to need them first. Starting one that is there already changes nothing.
"""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.actor import ActorHandle
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from coordsvc.clock import MonotonicClock
from coordsvc.core.terms import Terms
from coordsvc.core.units import Epoch
from coordsvc.serving.allocator_actor import AllocatorActor
from coordsvc.serving.deployed import Deployed
from coordsvc.serving.engine_link import ServeEngineLink
from coordsvc.serving.instruments import Instruments
from coordsvc.serving.instruments_line import InstrumentsLine
from coordsvc.serving.pool import EngineLink, NodeCard
from coordsvc.serving.ray_pool import NAMESPACE, allocator_name, find, instruments_name
from coordsvc.telemetry.decision_log import DecisionLog, DecisionLogTerms

CALLS_AT_ONCE = 10_000
"""Two long calls for each desk, and one for each engine, stay open at the allocator."""
HEAD_RESOURCE = "node:__internal_head__"
"""Ray's own mark of the head node."""
EPOCHS_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AppActors:
    """What an application's actors are started with."""

    app: str
    engine: str
    """The engine deployment's name."""
    terms: Terms
    decision_log: DecisionLogTerms | None
    metrics_host: str
    metrics_port: int


class AllocatorInRay(AllocatorActor):
    """The allocator, with the real things it needs; rebuilt whole when Ray restarts it."""

    async def __init__(self, wanted: AppActors) -> None:  # type: ignore[misc]
        self._engine: Any = serve.get_deployment_handle(wanted.engine, app_name=wanted.app)
        line = InstrumentsLine(instruments_name(wanted.app))
        super().__init__(
            claim_epoch(wanted.app),
            wanted.terms,
            MonotonicClock(),
            self.link_to,
            line.snapshot,
            DecisionLog(wanted.decision_log) if wanted.decision_log else None,
        )
        self.start()

    def link_to(self, card: NodeCard) -> EngineLink:
        """Return the line to an engine replica."""
        return ServeEngineLink(self._engine, card.node)


class InstrumentsInRay(Instruments):
    """The instruments, with Serve and Ray to ask."""

    async def __init__(self, wanted: AppActors) -> None:  # type: ignore[misc]
        super().__init__(wanted.metrics_host, wanted.metrics_port, MonotonicClock())
        deployed = Deployed(wanted.app, wanted.engine)
        self._asking = asyncio.create_task(self.keep_asking(deployed.look))


def claim_epoch(app: str) -> Epoch:
    """Return an epoch that nobody has had, put-if-absent in the cluster's key-value store."""
    prefix = f"coordsvc/{app}".encode()
    _internal_kv_put(prefix + b"/run", uuid.uuid4().hex.encode(), overwrite=False)
    run = _internal_kv_get(prefix + b"/run").decode()
    for n in range(1, EPOCHS_MAX):
        taken = _internal_kv_put(prefix + f"/epoch/{n}".encode(), b"claimed", overwrite=False)
        if not taken:
            return Epoch(run, n)
    raise AssertionError("an allocator does not die a million times")


def start_actors(wanted: AppActors, allocator: type[AllocatorInRay] = AllocatorInRay) -> None:
    """Have the application's allocator and instruments running, on the head node."""
    _start(
        InstrumentsInRay,
        instruments_name(wanted.app),
        args=(wanted,),
        at_once=100,
    )
    actor = _start(allocator, allocator_name(wanted.app), args=(wanted,), at_once=CALLS_AT_ONCE)
    actor.settle.remote(wanted.terms)  # it may be there since an earlier deployment


def stop_actors(app: str) -> None:
    """End the application's actors for good."""
    for name in (allocator_name(app), instruments_name(app)):
        if (actor := find(name)) is not None:
            ray.kill(actor, no_restart=True)


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
