"""Settings of who is offered the next free bundle."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from coordsvc.core.learning import LearningTerms
from coordsvc.core.policies.catalogue import PolicyTerms, make
from coordsvc.core.units import AgentId, RoleId, seconds
from coordsvc.settings.node import Node

PlannedPhase = Annotated[tuple[int, str], Field(strict=False)]
"""The number of a turn, from 0, and an agent. YAML has lists only."""
Weight = Annotated[float, Field(ge=0, le=1_000_000)]


class LearningSettings(Node):
    """What a phase is worth, where utilities are learned."""

    throughput_weight: Weight = 0.5
    """Worth of a phase that ended, late or not."""
    deadline_weight: Weight = 0.5
    """Worth of its having been in time, on top."""
    window_s: float = Field(default=1.0, ge=0.05, le=600)
    """Seconds that make one observation; about a phase or a few."""
    half_life_windows: int = Field(default=300, ge=1, le=1_000_000)
    """After how many windows of the same load what was seen counts half."""
    cold_windows: int = Field(default=20, ge=1, le=1_000_000)
    """Windows with ended phases before the hand-set utility is left."""
    explore: float = Field(default=0.1, ge=0, le=1)
    """How much of a gain is its upper bound; 0 never tries what looks worse."""

    @model_validator(mode="after")
    def _worth_something(self) -> Self:
        if self.throughput_weight + self.deadline_weight <= 0:
            raise ValueError("throughput_weight and deadline_weight are both 0: nothing has worth")
        return self

    def terms(self) -> LearningTerms:
        """Return the same for the core."""
        return LearningTerms(
            throughput_weight=self.throughput_weight,
            deadline_weight=self.deadline_weight,
            window_us=seconds(self.window_s),
            half_life_windows=self.half_life_windows,
            cold_windows=self.cold_windows,
            explore=self.explore,
        )


class PolicySettings(Node):
    """Who is served first; `coordsvc policy` changes it on a running service."""

    name: Literal[
        "fair_share",
        "utility",
        "oldest_first",
        "attained_service",
        "slack",
        "virtual_finish",
        "planned",
        "round_robin",
        "first_come",
        "static_partition",
    ] = "fair_share"
    """Weighted hierarchical DRF by default: it needs to know nothing, and starves nobody."""
    partition: dict[str, int] = Field(default={})
    """static_partition: the share of each agent; it has no default."""
    plan: list[PlannedPhase] = Field(default=[], max_length=10_000)
    """planned: phases in their order, each the number of its turn, from 0, and its agent; what
    `coordsvc schedule` prints. It has no default."""
    utility_weights: dict[str, float] = Field(default={})
    """utility, set by hand: weights relative to each other; 1 where nothing is said."""
    utility_alpha: float = Field(default=0.5, ge=0, le=1)
    """utility, set by hand: u(n) = weight * n**alpha, and log(1 + n) for 0."""
    learning: LearningSettings | None = None
    """utility: learn the utilities online, beginning with those set by hand. None does not."""

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        make(self.terms())
        return self

    def terms(self) -> PolicyTerms:
        """Return the same for the core."""
        return PolicyTerms(
            name=self.name,
            plan=tuple((turn, AgentId(agent)) for turn, agent in self.plan),
            partition={RoleId(role): share for role, share in self.partition.items()},
            utility_weights={AgentId(a): weight for a, weight in self.utility_weights.items()},
            utility_alpha=self.utility_alpha,
            learning=self.learning.terms() if self.learning else None,
        )
