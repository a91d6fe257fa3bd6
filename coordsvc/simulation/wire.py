"""What lies between two parties: messages take their time, and some have an accident.

Which may be lost or come twice is the sender's to say: it passes what to do when one is lost, and
whether it may be repeated.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from coordsvc.core.units import Micros
from coordsvc.simulation.chance import Draws
from coordsvc.simulation.loop import Happening, Loop
from coordsvc.simulation.settings import SimSettings


class Wire:
    """Delivers messages."""

    __slots__ = ("_accidents", "_chance", "_delay_us", "_faults", "_jitter_us", "_troubled", "loop")

    def __init__(self, loop: Loop, settings: SimSettings, chance: Draws, accidents: Draws) -> None:
        self.loop = loop
        self._delay_us = settings.delay_us
        self._jitter_us = settings.jitter_us
        self._faults = settings.faults
        self._troubled = any((self._faults.lost, self._faults.twice, self._faults.late))
        self._chance = chance
        self._accidents = accidents

    def loses(self, part: float) -> None:
        """Lose so many of the messages from now on, of those that may be lost."""
        self._faults = replace(self._faults, lost=part)
        self._troubled = any((part, self._faults.twice, self._faults.late))

    def send(
        self,
        arrives: Happening,
        *args: Any,
        lost: Callable[[], None] | None = None,
        again: Happening | None = None,
    ) -> None:
        """Have `arrives(*args)` called after a while.

        With `lost` it may be that this is called, now, instead; with `again` it may be that this
        is called a while later, too.
        """
        if self._troubled and self._accident(args, lost, again):
            return
        self.loop.after(self._takes(), arrives, *args)

    def _accident(
        self, args: tuple[Any, ...], lost: Callable[[], None] | None, again: Happening | None
    ) -> bool:
        if lost is not None and self._accidents.uniform() < self._faults.lost:
            lost()
            return True
        if again is not None and self._accidents.uniform() < self._faults.twice:
            self.loop.after(Micros(2 * self._takes()), again, *args)
        return False

    def _takes(self) -> Micros:
        takes = self._delay_us
        if self._jitter_us:
            takes = Micros(takes + self._chance.below(self._jitter_us + 1))
        if self._troubled and self._accidents.uniform() < self._faults.late:
            takes = Micros(takes + self._accidents.below(self._faults.late_us + 1))
        return takes
