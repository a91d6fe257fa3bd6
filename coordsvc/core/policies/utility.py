"""The bundle that gains most goes first: greedy on concave utilities.

Where utilities are concave and add up, and bundles are alike, giving each next bundle to the
largest gain is optimal (Fox 1966). Where bundles differ, the gain is divided by the bundle's price,
its dominant share of the pool. Bundles being whole, that is no longer optimal to the last bundle.

Only who wants something is served: a large gain with nobody waiting behind it holds up no one.
Tenants do not count for themselves, the best agent anywhere is served. What weighs are the
utilities' own weights; those of roles are for sharing, and are not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from coordsvc.core.policies import Claim, Ended, Key, Ordering, RoleView
from coordsvc.core.policies.utilities import Utilities
from coordsvc.core.resources import Resources
from coordsvc.core.shares import WHOLE_BITS, dominant_share
from coordsvc.core.units import AgentId, Instant
from coordsvc.core.waits import Wait

GAIN_BITS = 32
"""Gains count in units of 2**-32. A power's last bit differs from machine to machine; here none
does, and equal gains are equal."""


@dataclass(kw_only=True)
class Utility(Ordering):
    """Serves the agent that gains most by one more bundle, for its price."""

    utilities: Utilities

    def desk_key(self, claim: Claim) -> Key:
        """Return the usual place, behind room for a gain and before the agent's name.

        By its name an agent knows its own desks from those of agents below it.
        """
        return (0, *super().desk_key(claim), claim.agent)

    def role_key(
        self, role: RoleView, best: Key, bundle: Resources, capacity: Resources
    ) -> Key | None:
        """Return an agent's gain for the price, largest first, then the longest wait below."""
        agent = AgentId(role.role_id)
        if best[-1] != agent:
            return best  # a tenant: it stands where its best agent stands
        gain = self.utilities.marginal(agent, role.bundles)
        assert isfinite(gain), f"the gain of {agent} is not finite"
        assert gain >= 0, f"the gain of {agent} is below 0"
        price = max(1, dominant_share(bundle, capacity))
        return (-(round(gain * (1 << GAIN_BITS)) << WHOLE_BITS) // price, *best[1:])

    def arrived(self, now: Instant, agent: AgentId, wait: Wait, capacity: Resources) -> None:
        """Pass a phase's arrival on to the utilities."""
        del wait, capacity
        self.utilities.arrived(now, agent)

    def ended(self, now: Instant, end: Ended) -> None:
        """Pass a grant's end on to the utilities."""
        self.utilities.ended(now, end)

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Return whether gains have changed."""
        return self.utilities.refresh(now, held)
