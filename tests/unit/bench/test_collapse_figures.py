"""How alarms are counted: the truth, leads, misses and false alarms."""

from dataclasses import replace

import pytest

from coordsvc.bench.collapse_figures import (
    HOLD,
    WARM,
    Run,
    Simple,
    acceleration,
    begins,
    collapse_of,
    p95,
    score,
    tuned,
)
from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.core.window import Window

BOUND = 500_000
ONE = Window(
    began=Instant(0),
    lasts_us=Micros(864 * SECOND),
    turns=10,
    concurrency=1.0,
    c_coord_us=100_000.0,
    p95_us=1_000_000.0,
    offers_made=10,
)
"""A hundredth of a day."""


def windows(*c_coord: float) -> tuple[Window, ...]:
    return tuple(replace(ONE, c_coord_us=one * SECOND) for one in c_coord)


def quiet(count: int) -> Run:
    return Run(kind="busy", onset=None, windows=(ONE,) * count, collapse=None)


def broken(onset: int, collapse: int, count: int = 20) -> Run:
    return Run(kind="ramp", onset=onset, windows=(ONE,) * count, collapse=collapse)


def on(count: int, *at: int) -> list[bool]:
    return [n in at for n in range(count)]


def test_a_pool_has_collapsed_when_the_minute_is_above_the_bound_and_stays_so() -> None:
    calm, over = (0.1,) * 10, (0.9,) * 10
    assert collapse_of(windows(*calm, *over), BOUND) == 13  # 4 of 6 windows at 0.9: 0.63
    assert collapse_of(windows(*calm, *over[:7]), BOUND) is None  # too soon to tell
    assert collapse_of(windows(*calm, *over[:5], *calm), BOUND) is None
    assert collapse_of(windows(*calm), BOUND) is None
    assert collapse_of((), BOUND) is None


def test_a_single_wild_window_is_no_collapse() -> None:
    assert collapse_of(windows(*(0.1,) * 10, 9.0, *(0.1,) * 10), BOUND) is None


def test_means_are_of_turns_and_not_of_windows() -> None:
    few = tuple(replace(one, turns=1) for one in windows(*(9.0,) * 3))
    many = tuple(replace(one, turns=1_000) for one in windows(*(0.1,) * 3))
    assert collapse_of((few + many) * 6, BOUND) is None
    empty = tuple(replace(ONE, turns=0, c_coord_us=None) for _ in range(20))
    assert collapse_of(empty, BOUND) is None


def test_an_alarm_begins_where_it_was_off_before() -> None:
    assert begins([True, True, False, True, False, False, True]) == [0, 3, 6]
    assert begins([]) == []


def test_a_lead_is_from_the_beginning_of_the_first_alarm_within_the_drift() -> None:
    runs = [broken(5, 12), broken(5, 12), broken(5, 12)]
    came = score(runs, [on(20, 8, 9, 10), on(20, 12), on(20)])
    assert came.leads == (4, 0, 0)
    assert came.detected == pytest.approx(1 / 3)
    assert came.median_lead == 0.0
    assert came.false_alarms == 0


def test_an_alarm_before_the_drift_is_false_and_detects_nothing() -> None:
    run = broken(WARM + 10, WARM + 20, count=WARM + 30)
    came = score([run], [on(WARM + 30, *range(WARM + 4, WARM + 15))])
    assert (came.leads, came.false_alarms) == ((0,), 1)
    assert came.days == pytest.approx(0.1)
    assert came.per_day == pytest.approx(10)


def test_what_the_detector_could_not_have_said_counts_neither_way() -> None:
    came = score([quiet(WARM), quiet(WARM + 1)], [on(WARM, 3), on(WARM + 1, WARM - 1, WARM)])
    assert (came.false_alarms, came.days) == (0, pytest.approx(0.01))


def test_every_alarm_of_a_quiet_run_is_false() -> None:
    count = 50 + WARM
    came = score([quiet(count), quiet(count)], [on(count, 23, 24, 40), on(count, 49)])
    assert (came.false_alarms, came.collapses) == (3, 0)
    assert came.days == pytest.approx(1.0)
    assert came.as_dict() == {
        "detected": 0.0,
        "median_lead_windows": 0.0,
        "false_alarms": 3,
        "false_alarms_per_day": 3.0,
    }


def test_a_drift_that_ends_in_no_collapse_counts_neither_way() -> None:
    came = score([Run(kind="ramp", onset=5, windows=(ONE,) * 20, collapse=None)], [on(20, 9)])
    assert (came.collapses, came.false_alarms) == (0, 0)


def test_a_simple_alarm_asks_for_windows_on_end_and_holds_a_while() -> None:
    slow = replace(ONE, p95_us=3e6)
    seen = (ONE, slow, ONE, slow, slow, *(ONE,) * 8)
    alarm = Simple(signal=p95, above=2e6, persist=2)
    assert begins(alarm.states(seen)) == [4]
    assert sum(alarm.states(seen)) == HOLD


def test_p95_of_a_window_without_turns_is_the_one_before() -> None:
    assert p95((replace(ONE, p95_us=None), ONE, replace(ONE, p95_us=None))) == [0.0, 1e6, 1e6]


def test_acceleration_is_the_second_difference_by_offers() -> None:
    assert acceleration(windows(0.1, 0.2, 0.5, 0.8)) == pytest.approx([0, 0, 20_000, 0])
    gap = replace(ONE, c_coord_us=None, turns=0)
    assert acceleration((*windows(0.1, 0.2), gap, *windows(0.9))) == [0, 0, 0, 0]
    assert acceleration([replace(ONE, offers_made=0)] * 4) == [0, 0, 0, 0]


def test_the_best_threshold_is_as_low_as_false_alarms_allow() -> None:
    shaky = tuple(replace(ONE, p95_us=1e6 + 1e4 * (n % 7)) for n in range(100))
    rise = (*shaky[:50], *(replace(ONE, p95_us=1e6 + 2e4 * n) for n in range(20)))
    runs = [
        Run(kind="busy", onset=None, windows=shaky, collapse=None),
        Run(kind="ramp", onset=50, windows=rise, collapse=65),
    ]
    alarm = tuned(p95, runs, per_day=0.0)
    came = score(runs, [alarm.states(run.windows) for run in runs])
    assert came.false_alarms == 0
    assert came.leads == (11,)
    loose = tuned(p95, runs, per_day=1e9)
    assert loose.above <= alarm.above
