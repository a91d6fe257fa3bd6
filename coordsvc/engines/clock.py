"""The engines' own clock. Durations taken on one machine; never compared with another's."""

import time

from coordsvc.core.units import Instant


class MonotonicClock:
    """Tells the process's monotonic time in microseconds; it never steps back."""

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(time.perf_counter_ns() // 1_000)
