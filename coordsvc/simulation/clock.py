"""The clock of a simulated world."""

from coordsvc.core.units import Instant


class JumpClock:
    """Stands still until the loop moves it."""

    __slots__ = ("_now",)

    def __init__(self, start: Instant = Instant(0)) -> None:
        self._now = start

    def now(self) -> Instant:
        """Return the present instant."""
        return self._now

    def jump(self, to: Instant) -> None:
        """Make it `to`; never earlier than it is."""
        assert to >= self._now, "time does not run backwards"
        self._now = to
