"""Training under the allocator's grants: an application of Serve without a door.

Each node is a Serve replica in a placement group of its own, and is to the allocator what an
engine is: so its grants are in the same decision log, and alloc_i of training in the same metrics.
The agents' desks are in the process that asked for the training; what they train is on the nodes.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from coordsvc.agents.trainee import TrainingAgent, together
from coordsvc.clock import MonotonicClock
from coordsvc.core.desk import Desk
from coordsvc.core.resources import MILLI, Resources
from coordsvc.core.stretch import Stretched
from coordsvc.core.terms import DeskTerms, Terms
from coordsvc.core.units import SECOND, AgentId, DeskId, Micros, NodeId
from coordsvc.ports import Trainee
from coordsvc.serving.actors import AppActors, start_actors
from coordsvc.serving.app import CALLS_MAX, HEALTH_PERIOD_S, PIN_ROUTER, QUIET
from coordsvc.serving.desk_link import LinkedDesk
from coordsvc.serving.log_lines import begin_log
from coordsvc.serving.ray_pool import RayPool
from coordsvc.serving.training_calls import ServeTrainers
from coordsvc.serving.training_node import TrainingNode
from coordsvc.settings.metrics import MetricsSettings
from coordsvc.telemetry.decision_log import DecisionLogTerms

APP = "training"
NODE = "TrainingNode"
"""The nodes' deployment."""
DESK_TERMS = DeskTerms(ahead_min=0, locality_wait_us=Micros(SECOND))
"""Nothing is held ahead: a stretch lasts a thousand times as long as an offer takes to come. And
a second's wait for the node that has an agent's training loaded is less than to load it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPool:
    """Where agents train."""

    nodes: int
    on_gpu: bool
    """Each node's placement group has a GPU; else a CPU core."""
    stretch_steps: int
    """Steps under one grant."""
    terms: Terms = Terms()
    metrics: MetricsSettings = MetricsSettings()
    decision_log: DecisionLogTerms | None = None

    def capacity(self) -> Resources:
        """Return what a node offers, and a stretch takes: one accelerator, whole.

        Torch has one source of chance in a process, so two would not be repeatable side by side.
        """
        return Resources(gpu_milli=MILLI) if self.on_gpu else Resources(cpu_milli=MILLI)

    def bundle(self) -> dict[str, float]:
        """Return what Ray sets aside for a node."""
        return {"GPU": 1.0, "CPU": 1.0} if self.on_gpu else {"CPU": 1.0}


class TrainingNodeDeployment(TrainingNode):
    """A training node in Serve: its placement group is its accelerator."""

    async def __init__(  # type: ignore[misc]
        self, pool: TrainingPool, load: Callable[[AgentId], Trainee]
    ) -> None:
        begin_log()
        context = serve.get_replica_context()
        super().__init__(
            load,
            NodeId(context.replica_id.unique_id),
            pool.capacity(),
            {"trains": "yes"},
            RayPool(context.app_name),
            MonotonicClock(),
        )
        start_actors(
            AppActors(
                app=context.app_name,
                engine=context.deployment,
                terms=pool.terms,
                decision_log=pool.decision_log,
                metrics=pool.metrics,
            )
        )
        self.start()

    async def __del__(self) -> None:
        await self.stop()


def compose(pool: TrainingPool, load: Callable[[AgentId], Trainee]) -> serve.Application:
    """Return the nodes; `load` travels to them, and is called there."""
    bundle = pool.bundle()
    return serve.deployment(
        name=NODE,
        num_replicas=pool.nodes,
        max_ongoing_requests=CALLS_MAX,
        request_router_config=RequestRouterConfig.model_validate(
            {"request_router_class": PIN_ROUTER}
        ),
        ray_actor_options={
            "num_cpus": bundle["CPU"],
            "num_gpus": bundle.get("GPU", 0),
        },
        placement_group_bundles=[bundle],
        placement_group_strategy="STRICT_PACK",
        health_check_period_s=HEALTH_PERIOD_S,
        logging_config=QUIET,
    )(TrainingNodeDeployment).bind(pool, load)


async def train(
    pool: TrainingPool, nodes: DeploymentHandle[Any], begin: Mapping[AgentId, int]
) -> AsyncGenerator[Stretched]:
    """Train each agent of `begin` from the step named there; yield where each stands.

    Raises what `together` raises.
    """
    clock = MonotonicClock()
    trainers = ServeTrainers(nodes)
    desks = {
        agent: LinkedDesk(
            Desk(
                desk=DeskId(f"training/{agent}"),
                agent=agent,
                bundle=pool.capacity(),
                terms=DESK_TERMS,
            ),
            RayPool(APP),
            clock,
        )
        for agent in begin
    }
    for desk in desks.values():
        desk.start()
    agents = {
        agent: TrainingAgent(agent, pool.capacity(), pool.stretch_steps, desk, trainers, clock)
        for agent, desk in desks.items()
    }
    told = together(agents, begin)
    try:
        async for stretched in told:
            yield stretched
    finally:
        await told.aclose()
        for desk in desks.values():
            desk.stop()
