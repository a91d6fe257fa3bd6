"""The clock that jumps."""

import pytest

from coordsvc.core.units import Instant
from coordsvc.simulation.clock import JumpClock


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = JumpClock(Instant(5))
    assert [clock.now(), clock.now()] == [5, 5]
    clock.jump(Instant(900))
    assert clock.now() == 900


def test_the_clock_never_runs_backwards() -> None:
    clock = JumpClock(Instant(5))
    clock.jump(Instant(5))
    with pytest.raises(AssertionError, match="backwards"):
        clock.jump(Instant(4))
