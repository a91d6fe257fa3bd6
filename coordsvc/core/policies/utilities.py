"""How much an agent gains by holding one more bundle: u_i, told by its slope.

A utility is concave: each further bundle gains no more than the one before. Whether it was set by
hand, as here, or learned, a policy sees only `Utilities`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log1p
from typing import Protocol

from coordsvc.core.policies import Ended
from coordsvc.core.units import AgentId, Instant


class Utilities(Protocol):
    """The utility of each agent."""

    def marginal(self, agent: AgentId, bundles: int) -> float:
        """Return the gain of one more bundle while `bundles` are held: finite, >= 0, falling."""
        ...

    def utility(self, agent: AgentId, bundles: float) -> float:
        """Return u_i of so many bundles."""
        ...

    def arrived(self, now: Instant, agent: AgentId) -> None:
        """Learn of a phase that came."""
        ...

    def ended(self, now: Instant, end: Ended) -> None:
        """Learn of a grant's end."""
        ...

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Return whether gains have changed since the last time; asked once every tick."""
        ...


@dataclass(frozen=True, kw_only=True)
class PowerUtilities:
    """Utilities set by hand: u(n) = weight * n**alpha; for alpha = 0, weight * log(1 + n)."""

    weights: Mapping[AgentId, float] = field(default_factory=dict)
    """Relative to each other; 1 where nothing is said."""
    alpha: float = 0.5
    """How fast gains fall: at 1 never, and the heaviest takes all; at 0 as 1/n."""

    def __post_init__(self) -> None:
        assert 0 <= self.alpha <= 1, "above 1 it is not concave, below 0 it falls"
        assert all(weight >= 0 for weight in self.weights.values()), "weights are 0 or above"

    def marginal(self, agent: AgentId, bundles: int) -> float:
        """Return u(bundles + 1) - u(bundles)."""
        weight = self.weights.get(agent, 1.0)
        if self.alpha == 0:
            return weight * log1p(1 / (bundles + 1))
        return weight * float((bundles + 1) ** self.alpha - bundles**self.alpha)

    def utility(self, agent: AgentId, bundles: float) -> float:
        """Return u(bundles)."""
        weight = self.weights.get(agent, 1.0)
        return weight * (log1p(bundles) if self.alpha == 0 else float(bundles**self.alpha))

    def arrived(self, now: Instant, agent: AgentId) -> None:
        """Learn nothing."""

    def ended(self, now: Instant, end: Ended) -> None:
        """Learn nothing."""

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Say that gains do not change."""
        del now, held
        return False
