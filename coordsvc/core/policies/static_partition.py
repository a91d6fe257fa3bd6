"""A fixed part of the pool for each role, and no borrowing: what most people have today.

The baseline to beat. The pool is divided among the children of the root by whole-number shares; for
equal parts, give each the same. A role holds no more than its part, even while all else is idle;
within what is open, first come is first served.

A part is the role's share of each resource of the whole pool, rounded down to the thousandth (of
bandwidth, to the Mb/s). Bundles are whole and lie on one node, so a part may have room that no
bundle fits: of four GPUs in three equal parts, each role can use one, and one GPU idles. That is
what walls cost. But a role with any share may always hold one bundle, however small its part, for
else it would never be served at all.

A role that has no share is outside the walls, and holds nothing: name them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordsvc.core.policies import Key, Ordering, RoleView
from coordsvc.core.resources import Resources
from coordsvc.core.units import RoleId


@dataclass(kw_only=True)
class StaticPartition(Ordering):
    """Serves the longest waiting phase of a role whose part has room."""

    shares: Mapping[RoleId, int]
    """Of the children of the root, relative to each other."""
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(self.shares.values())
        assert self.total > 0, "somebody has a share"
        assert min(self.shares.values()) >= 0, "a share is a whole number, 0 or above"

    def role_key(
        self, role: RoleView, best: Key, bundle: Resources, capacity: Resources
    ) -> Key | None:
        """Put a role in the place of the best below it; close it where its part has no room."""
        if role.depth > 1:
            return best
        share = self.shares.get(role.role_id, 0)
        if share == 0:
            return None
        if not role.held:
            return best
        part = Resources(*(amount * share // self.total for amount in capacity.amounts()))
        return best if part.covers(role.held + bundle) else None
