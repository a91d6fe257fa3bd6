"""Settings of the early warning: what it warns of, and how long its windows are.

What the signs are weighed by is in `core.collapse`, where it was tuned together; here stands what
depends on the service.
"""

from typing import Self

from pydantic import Field, model_validator

from coordsvc.core.collapse import DetectorTerms
from coordsvc.core.units import Micros, seconds
from coordsvc.settings.node import Node


class CollapseSettings(Node):
    """The warning that C_coord is about to cross its bound and stay above it."""

    c_coord_s: float = Field(default=0.5, ge=0.001, le=600)
    """Seconds of C_coord of a turn, on average: the bound. The one above which `scaling` adds
    engines, so that the warning comes before they are needed."""
    window_s: float = Field(default=10.0, ge=1, le=3_600)
    """Seconds of a window. Some dozens of turns; twice as long for half as many, or the noise of
    single turns hides the trend. A warning needs twenty windows, and looks back at most
    `history`."""
    history: int = Field(default=26, ge=20, le=1_000)
    """Windows that are looked at: over four minutes. More find slower drifts, and fast ones
    later."""
    horizon: float = Field(default=10.0, gt=0, le=1_000)
    """Windows within which the bound must be about to be crossed; further off than six it takes
    another sign. Longer warns earlier, and more often of what does not come: a trend is not for
    ever."""
    slow_turns: float = Field(default=0.05, gt=0, lt=1)
    """Part of the turns that may be above the bound: 5 %, since a p95 is what is promised."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.horizon > self.history:
            raise ValueError(
                f"horizon ({self.horizon}) is above history ({self.history}): "
                "nobody sees further ahead than back"
            )
        return self

    @property
    def window_us(self) -> Micros:
        """How long a window lasts."""
        return seconds(self.window_s)

    def terms(self) -> DetectorTerms:
        """Return the same for the core."""
        return DetectorTerms(
            bound_us=seconds(self.c_coord_s),
            history=self.history,
            horizon=self.horizon,
            burn_allowed=self.slow_turns,
        )
