"""Orders that change as time passes, at instants that are known beforehand.

A key may not depend on the time, for the allocator keeps it. Here it depends on `as_of`, which
moves only when `refresh` says that keys have changed. All keys are of the same instant, then; and
where nothing is due, nothing is asked again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordsvc.core.policies import Ordering
from coordsvc.core.units import MILLISECOND, AgentId, Instant, Micros

GRAIN_US = Micros(250 * MILLISECOND)
"""Changes this close together are made at once: fewer rounds of asking for all keys."""

CHANGES_MAX = 4_096
"""Changes kept, a grain apart or more. What is foreseen beyond them is made with a later one."""


@dataclass(kw_only=True)
class Foreseen(Ordering):
    """An order of which it is known when it will change."""

    as_of: Instant = Instant(0)
    """Of which instant the keys are."""
    changes: list[Instant] = field(default_factory=list)
    """When keys will change: whole grains, rising, each once."""

    def foresee(self, change: Instant) -> None:
        """Remember that a key will change at `change`; one that has changed already is no news."""
        if change <= self.as_of:
            return
        grain = Instant(-(-change // GRAIN_US) * GRAIN_US)  # rounded up: by then it has changed
        place = bisect_left(self.changes, grain)
        if self.changes[place : place + 1] != [grain]:
            self.changes.insert(place, grain)
            del self.changes[CHANGES_MAX:]

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Move on to `now` if any change is due, and say whether there was one."""
        del held
        due = bisect_right(self.changes, now)
        if due == 0:
            return False
        del self.changes[:due]
        self.as_of = now
        return True
