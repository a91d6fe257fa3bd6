"""What one simulated run is told. The same settings, the same result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coordsvc.core.policies import Policy
from coordsvc.core.policies.catalogue import PolicyTerms, make
from coordsvc.core.resources import Resources
from coordsvc.core.terms import DeskTerms, Terms
from coordsvc.core.units import MILLISECOND, SECOND, AgentId, Micros
from coordsvc.simulation import catalogue
from coordsvc.simulation.workload import NodePlan, Workload, WorkloadTerms

ON_DEMAND = DeskTerms(
    ahead_min=0,
    ahead_max=0,
    linger_us=Micros(0),
    linger_low_us=Micros(0),
)
"""Nothing is held ahead of need, and news leaves at once: what a policy can do at its best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTerms:
    """How often what goes wrong. Nothing does, unless said."""

    node_losses_per_minute: float = 0.0
    """Of the whole pool."""
    node_away_us: Micros = Micros(10 * SECOND)
    """How long until another engine takes a lost one's place."""
    noticed_us: Micros = Micros(SECOND)
    """How long until a caller, or the allocator, knows that an engine is dead or silent."""
    allocator_losses_per_minute: float = 0.0
    allocator_away_us: Micros = Micros(2 * SECOND)
    """Ray notices a dead actor after a second or two, and starts it again."""
    lost: float = 0.0
    """Part of the messages that never arrive."""
    twice: float = 0.0
    """Part of those that may be repeated that are."""
    late: float = 0.0
    """Part of the messages that are late, and so are overtaken by others."""
    late_us: Micros = Micros(300 * MILLISECOND)
    """How late, at most."""
    slow_agents: float = 0.0
    """Part of the agents' replicas that are slow."""
    slow_us: Micros = Micros(200 * MILLISECOND)
    """How long a slow one holds a grant before its work begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimSettings:
    """One run."""

    workload: str = "poisson"
    """One of `catalogue.NAMES`."""
    seed: int = 1
    load: float = 0.85
    """Offered engine seconds, as a part of what the pool computes. High, and not yet hopeless."""
    lasts_us: Micros = Micros(120 * SECOND)
    """Nothing arrives later, and the measures end here."""
    warm_us: Micros = Micros(0)
    """The measures begin here."""
    drain_us: Micros = Micros(600 * SECOND)
    """How much longer turns may take to end; what then still waits is unfinished."""
    turns_max: int = 1_000_000
    checked: bool = True
    """Whether dialogues have a checker."""
    workload_terms: WorkloadTerms = WorkloadTerms()
    nodes: tuple[NodePlan, ...] = ()
    """The pool; nothing for the one that the workload is meant for."""
    bundle: Resources = Resources(gpu_milli=250, cpu_milli=1_000)
    """What a slot is, and what each phase runs under unless `widths` says more."""
    widths: Mapping[AgentId, int] = field(default_factory=dict)
    """Slots that a phase of an agent takes, all on one node; 1 where nothing is said."""
    replicas: int = 2
    """Of each agent: desks."""
    terms: Terms = Terms()
    """The allocator's, the policy among them."""
    make_policy: Callable[[PolicyTerms], Policy] = make
    """Makes the policy that the terms name; another one may give it utilities that learn."""
    desk_terms: DeskTerms = ON_DEMAND
    delay_us: Micros = Micros(MILLISECOND)
    """What a message takes at least; a call between actors takes one or two."""
    jitter_us: Micros = Micros(MILLISECOND)
    """What it may take beside; all lengths are alike likely."""
    contention: float = 0.0
    """How much longer a phase takes for each other one that its engine computes as it starts."""
    refill_us: Micros = Micros(0)
    """What a phase costs more on a node that does not have its conversation cached."""
    costs_known: bool = True
    """Whether desks know what phases will cost; else they go by the mean of each agent."""
    tenant: str | None = None
    """Only this one's turns, of all that the seed draws."""
    faults: FaultTerms = field(default_factory=FaultTerms)

    def __post_init__(self) -> None:
        if self.workload not in catalogue.NAMES:
            known = ", ".join(catalogue.NAMES)
            raise ValueError(f"there is no workload {self.workload!r}; there are {known}")
        if not 0 < self.load < float("inf"):
            raise ValueError(f"load is {self.load}; it is above 0, and finite")
        if not 0 <= self.warm_us < self.lasts_us:
            raise ValueError("the measures begin before they end")
        if self.replicas < 1 or self.turns_max < 1:
            raise ValueError("there is at least one replica, and one turn")
        widest = max((plan.slots for plan in self.pool), default=0)
        for agent, width in self.widths.items():
            if not 1 <= width <= widest:
                raise ValueError(
                    f"a phase of {agent} takes {width} slots; 1 to {widest}, the largest node's, "
                    "are right"
                )
        parts = (self.faults.lost, self.faults.twice, self.faults.late, self.faults.slow_agents)
        if not all(0 <= part <= 1 for part in parts) or self.faults.lost == 1:
            raise ValueError(f"parts of the messages and agents are from 0 to 1, not {parts}")

    @property
    def pool(self) -> tuple[NodePlan, ...]:
        """The nodes that there are."""
        return self.nodes or catalogue.usual_nodes(self.workload)

    def width(self, agent: AgentId) -> int:
        """Return how many slots a phase of the agent takes."""
        return self.widths.get(agent, 1)

    @property
    def slots(self) -> int:
        """How many bundles the whole pool holds."""
        return sum(plan.count * plan.slots for plan in self.pool)

    @property
    def speed(self) -> float:
        """Engine seconds that the whole pool computes in a second."""
        return sum(plan.count * plan.slots * plan.speed_milli for plan in self.pool) / 1_000

    def workload_drawn(self) -> Workload:
        """Return what is asked in this run."""
        drawn = catalogue.draw(
            self.workload,
            catalogue.Asked(
                seed=self.seed,
                load=self.load,
                capacity=self.speed,
                lasts_us=self.lasts_us,
                turns_max=self.turns_max,
                checked=self.checked,
                terms=self.workload_terms,
            ),
        )
        return drawn if self.tenant is None else drawn.only(self.tenant)
