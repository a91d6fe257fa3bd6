"""Round robin: roles take turns, whatever they hold and whoever waits longest.

A baseline. At each level the role that was served least recently is next, so a tenant of many
agents has no more turns than a tenant of one. Turns are counted in offers: who asks for large
bundles, or keeps them for long, gets more of the pool than the others.
"""

from coordsvc.core.policies import Key, Ordering, RoleView
from coordsvc.core.resources import Resources


class RoundRobin(Ordering):
    """Serves the role whose last offer is the longest ago."""

    def role_key(
        self, role: RoleView, best: Key, bundle: Resources, capacity: Resources
    ) -> Key | None:
        """Put a role in the place of its last offer's number; who never had one comes first."""
        del best, bundle, capacity
        return (role.served,)
