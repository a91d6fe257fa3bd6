"""Time that jumps: when all wait, it is the next timer's time at once, and nobody slept.

A story of hours so takes milliseconds, and to the microsecond as long as its timers say. Where
nothing is left that could ever wake anybody, the test fails at once instead of hanging.
"""

import asyncio
import selectors

from coordsvc.core.units import SECOND, Instant, Micros

BEGINNING_S = 1_000.0
"""What the clock shows at first: not 0, which is too good a number."""
NOW = Instant(round(BEGINNING_S * SECOND))
"""The same, as the core tells the time."""


class AllHang(AssertionError):
    """Everybody waits, and there is no timer: nothing will ever happen again."""


class _Jumping(selectors.DefaultSelector):
    """Never waits; tells instead how long it would have waited."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise AllHang
        self.waited_s += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop for stories without threads and without sockets."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return BEGINNING_S + self._jumping.waited_s


class LoopClock:
    """The port `Clock`, showing the running loop's time."""

    def now(self) -> Instant:
        return Instant(round(asyncio.get_running_loop().time() * SECOND))


def passed_us() -> Micros:
    """Return how long the running loop has run."""
    return Micros(LoopClock().now() - NOW)


async def settle() -> None:
    """Let everybody go on until all wait for something; no time passes."""
    for _ in range(SETTLED):
        await asyncio.sleep(0)


SETTLED = 50
"""Rounds of the loop; a story's longest chain of wakings is far shorter."""
