"""The machine's own clock."""

import time

from coordsvc.core.units import Instant

NANOS_PER_MICRO = 1_000


class MonotonicClock:
    """Counts from some fixed point in this machine's past; never steps back."""

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(time.monotonic_ns() // NANOS_PER_MICRO)
