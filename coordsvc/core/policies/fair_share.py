"""Weighted hierarchical dominant resource fairness, by progressive filling.

Ghodsi et al., NSDI 2011; of a tree of roles each level is filled so (as in Mesos and YARN): the
tenant with the smallest share first, of it the agent with the smallest.
"""

from coordsvc.core.policies import Key, Ordering, RoleView
from coordsvc.core.resources import Resources
from coordsvc.core.shares import dominant_share


class FairShare(Ordering):
    """Serves the least-served role first."""

    def role_key(
        self, role: RoleView, best: Key, bundle: Resources, capacity: Resources
    ) -> Key | None:
        """Put a role in the place of its dominant share of the pool, divided by its weight."""
        del best, bundle
        return (dominant_share(role.held, capacity, role.weight),)
