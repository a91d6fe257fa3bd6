"""The fleet's metrics: the five states go on from epoch to epoch, the measures are of lately."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from coordsvc.core.fleet import WHOLE, States
from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.telemetry.fleet import WINDOW_US, FleetMetrics, Lately
from tests.unit.telemetry.told import value


def states(second: float, computing: float = 0.5, held: float = 0.25) -> States:
    """Return the account of one accelerator at that second."""
    parts = {"computing": computing, "held": held, "idle": 1 - computing - held}
    return States(**{name: round(part * second * SECOND * WHOLE) for name, part in parts.items()})


class Shown(FleetMetrics):
    """With its registry at hand."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        super().__init__(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return value(self.registry, name, **labels)

    def tell(self, second: float, told: States, epoch: int = 1, remainder: int = 0) -> None:
        self.show(Instant(round(second * SECOND)), epoch, told.as_dict(), remainder, WHOLE)


def test_states_are_counted_in_accelerator_seconds() -> None:
    metrics = Shown()
    metrics.tell(4, states(4))
    metrics.tell(8, states(8))
    assert metrics.value("coordsvc_share_seconds_total", state="computing") == 4
    assert metrics.value("coordsvc_share_seconds_total", state="held") == 2
    assert metrics.value("coordsvc_accelerators") == 1


def test_a_new_allocator_goes_on_counting() -> None:
    metrics = Shown()
    metrics.tell(8, states(8), remainder=WHOLE * SECOND)
    metrics.tell(9, states(2), epoch=2, remainder=2 * WHOLE * SECOND)
    assert metrics.value("coordsvc_share_seconds_total", state="computing") == 5
    assert metrics.value("coordsvc_fleet_remainder_seconds_total") == 3


def test_measures_are_absent_until_turns_have_ended() -> None:
    metrics = Shown()
    for second in range(10):
        metrics.tell(second, states(second))
    assert metrics.value("coordsvc_s_measured") is None
    assert metrics.value("coordsvc_s_scale") is None, "of a fleet without turns nothing is said"


def test_measures_of_the_last_minute() -> None:
    metrics = Shown()
    for second in range(121):
        metrics.tell(second, states(second))
        metrics.lately.turn(900_000)
    assert metrics.value("coordsvc_s_scale") == pytest.approx(0.75)
    assert metrics.value("coordsvc_c_algo_seconds") == pytest.approx(0.5)
    assert metrics.value("coordsvc_c_coord_fleet_seconds") == pytest.approx(0.25 / 0.75)
    assert metrics.value("coordsvc_c_baseline_seconds") == pytest.approx(0.9)
    assert metrics.value("coordsvc_s_measured") == pytest.approx(0.9)
    assert metrics.value("coordsvc_s_measured_ideal") == pytest.approx(1.8)


def test_what_was_before_the_window_is_forgotten() -> None:
    lately = Lately()
    busy, idle = States(computing=60 * SECOND * WHOLE), States(idle=600 * SECOND * WHOLE)
    lately.turn(1)
    lately.told(Instant(0), States())
    lately.told(Instant(60 * SECOND), busy)
    later = replace(busy, idle=idle.idle)
    for second in range(61, 661):
        lately.told(Instant(second * SECOND), replace(busy, idle=(second - 60) * SECOND * WHOLE))
    assert later.total == lately._marks[-1].states.total
    found = lately.measures(WHOLE)
    assert found is not None
    assert found.s_scale == 0
    assert len(lately._marks) <= WINDOW_US // SECOND + 2


def test_a_window_of_which_too_much_is_unknown_has_no_measures() -> None:
    """The allocator was away for a third of it: turns went on, their states are nobody's."""
    lately = Lately()
    lately.told(Instant(0), States())
    for _ in range(30):
        lately.turn(900_000)
    lately.told(Instant(30 * SECOND), states(20))
    assert lately.measures(WHOLE) is None


def test_a_clock_that_jumps_back_begins_anew() -> None:
    lately = Lately()
    for second in (100, 101, 3, 4):
        lately.turn(1)
        lately.told(Instant(second * SECOND), states(second))
    found = lately.measures(WHOLE)
    assert found is not None
    assert found.accelerators == pytest.approx(1)
    assert lately.measures(Micros(2 * WHOLE)) is None


def test_what_the_baseline_rests_on_is_shown() -> None:
    metrics = Shown()
    assert metrics.value("coordsvc_baseline_calibrated") == 0
    metrics.calibrated(yes=True)
    assert metrics.value("coordsvc_baseline_calibrated") == 1
