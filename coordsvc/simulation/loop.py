"""What is to happen, by time; what is due at the same instant, in the order it came."""

import heapq
from collections.abc import Callable
from typing import Any

from coordsvc.core.units import Instant, Micros
from coordsvc.simulation.clock import JumpClock

Happening = Callable[..., None]


class Loop:
    """Calls each happening when it is due, having moved the clock there."""

    __slots__ = ("_due", "_sequence", "clock")

    def __init__(self, clock: JumpClock) -> None:
        self.clock = clock
        self._due: list[tuple[Instant, int, Happening, tuple[Any, ...]]] = []
        self._sequence = 0

    def at(self, instant: Instant, happening: Happening, *args: Any) -> None:
        """Have `happening(*args)` called at `instant`; one that is past is due now."""
        self._sequence += 1
        due = max(instant, self.clock.now())
        heapq.heappush(self._due, (due, self._sequence, happening, args))

    def after(self, wait: Micros, happening: Happening, *args: Any) -> None:
        """Have `happening(*args)` called when `wait` has passed."""
        self.at(Instant(self.clock.now() + wait), happening, *args)

    def run(self, until: Instant, *, done: Callable[[], bool] = bool) -> None:
        """Let everything happen that is due before `until`, or before `done` says enough.

        Without an answer from `done`, the clock stands at `until` afterwards.
        """
        due, clock = self._due, self.clock
        while due and due[0][0] < until:
            instant, _, happening, args = heapq.heappop(due)
            clock.jump(instant)
            happening(*args)
            if done():
                return
        clock.jump(until)
