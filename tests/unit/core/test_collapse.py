"""The early warning as a whole: stories of pools that break down, and of pools that do not."""

from dataclasses import replace
from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.core.collapse import Detector, DetectorTerms, EarlyWarning, Level
from coordsvc.core.collapse_signs import CHANGE, MARGIN, SIGNS
from coordsvc.core.queue_law import waits
from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.core.window import Window

TEN_S = Micros(10 * SECOND)
PLACES = 16
IDLE_US = 30_000.0
ALGO_US = 1_100_000.0


def window(n: int, load: float, more_us: float = 0.0, turns: int = 100) -> Window:
    """What a pool of 16 places shows at a load, by the theory of queues."""
    c_coord = IDLE_US + more_us + 0.5 * ALGO_US * waits(load, PLACES)
    return Window(
        began=Instant(n * TEN_S),
        lasts_us=TEN_S,
        turns=turns,
        concurrency=PLACES * load * (1 + c_coord / ALGO_US),
        c_coord_us=c_coord,
        c_algo_us=ALGO_US,
        c_baseline_us=ALGO_US,
        s_scale=PLACES * load,
        accelerators=float(PLACES),
        p95_us=2 * ALGO_US + c_coord,
        offers_made=3 * turns,
        offers_accepted=3 * turns,
    )


def story(loads, more=None) -> list[EarlyWarning]:
    detector = Detector()
    more = more or [0.0] * len(loads)
    return [detector.window(window(n, *one)) for n, one in enumerate(zip(loads, more, strict=True))]


def noisy(level: float, count: int, seed: int = 1, noise: float = 0.07) -> list[float]:
    draws = np.random.default_rng(seed)
    return [float(one) for one in np.clip(draws.normal(level, noise, count), 0, 1)]


def first(told: list[EarlyWarning], level: Level = Level.WARNING) -> int:
    return next(n for n, one in enumerate(told) if one.level is level)


def test_a_pool_at_a_steady_load_is_calm() -> None:
    told = story([0.7] * 100)
    assert {one.level for one in told} == {Level.CALM}
    assert told[-1].why == "no sign of collapse"
    assert told[-1].time_to_cross_us is None
    assert set(told[-1].signs) == set(SIGNS)


@pytest.mark.parametrize("seed", range(5))
def test_a_busy_pool_that_holds_is_never_warned_of(seed: int) -> None:
    told = story(noisy(0.8, 200, seed))
    assert Level.WARNING not in {one.level for one in told}


def test_a_rising_load_is_warned_of_before_c_coord_is_at_the_bound() -> None:
    loads = noisy(0.6, 20) + [0.6 + 0.012 * n + push for n, push in enumerate(noisy(0, 35, 2))]
    crossed = next(n for n, load in enumerate(loads) if n > 40 and load > 0.96)
    told = story(loads)
    warned = first(told)
    assert 22 < warned <= crossed - 3
    assert told[warned].signs[MARGIN].on
    assert told[warned].time_to_cross_us is not None
    assert told[warned].why.startswith("load ")


def test_slow_agents_are_warned_of_though_the_load_stays() -> None:
    more = [0.0] * 20 + [15_000.0 * n for n in range(40)]
    told = story([0.6] * 60, more)
    warned = first(told)
    assert 22 < warned < 20 + 470 // 15 - 3
    assert told[warned].why.startswith("C_coord 0.")
    assert told[warned].signs[CHANGE].on


def test_the_time_to_cross_comes_down_to_nothing() -> None:
    more = [0.0] * 20 + [15_000.0 * n for n in range(40)]
    told = story([0.6] * 60, more)
    times = [one.time_to_cross_us for one in told[first(told) :]]
    assert all(time is not None for time in times)
    assert times == sorted(times, reverse=True)
    assert times[-1] == 0


def test_a_day_that_rises_and_bends_before_the_bound_is_not_warned_of() -> None:
    sun = [0.45 - 0.36 * np.cos(2 * np.pi * n / 200) for n in range(400)]
    told = story([float(one) for one in sun])
    assert Level.WARNING not in {one.level for one in told}


def test_one_wild_window_raises_no_alarm() -> None:
    more = [0.0] * 30 + [9_000_000.0] + [0.0] * 30
    assert Level.WARNING not in {one.level for one in story([0.6] * 61, more)}


def test_a_warning_ends_when_its_cause_has_been_gone_for_a_while() -> None:
    more = [0.0] * 20 + [15_000.0 * n for n in range(30)] + [0.0] * 40
    told = story([0.6] * 90, more)
    assert told[49].level is Level.WARNING
    assert told[-1].level is Level.CALM
    levels = [one.level is Level.WARNING for one in told]
    assert sum(1 for n in range(1, 90) if levels[n] and not levels[n - 1]) == 1


def test_a_warning_stays_for_a_while_after_its_cause() -> None:
    more = [0.0] * 20 + [15_000.0 * n for n in range(30)] + [0.0] * 40
    told = story([0.6] * 90, more)
    caused = [
        n for n, one in enumerate(told) if one.level is Level.WARNING and one.signs[MARGIN].on
    ]
    after = [one.level for one in told[caused[-1] + 1 :]]
    hold = DetectorTerms().hold
    assert after[: hold - 1] == [Level.WARNING] * (hold - 1)
    assert Level.WARNING not in after[hold:]


def test_lost_work_that_shows_in_c_coord_is_warned_of_long_before_the_bound() -> None:
    detector, told = Detector(), []
    for n in range(50):
        lost = 10 if n >= 30 else 0
        more = 80_000.0 if n >= 30 else 0.0
        told.append(detector.window(replace(window(n, 0.5, more), retries=lost)))
    warned = first(told)
    assert 29 < warned < 40
    assert not told[warned].signs[MARGIN].on
    assert sum(sign.on for sign in told[warned].signs.values()) > 1
    assert "offers per task 1.0" in told[warned].why


def test_what_was_expected_is_forgotten_when_watching_begins_anew() -> None:
    detector = Detector()
    for n in range(50):
        told = detector.window(window(n, 0.5, 80_000.0 if n >= 40 else 0.0))
    assert told.signs[CHANGE].on
    for n in range(1_000, 1_022):
        told = detector.window(window(n, 0.5))
    assert told.signs[CHANGE].value == 0.0


def test_the_law_is_fitted_on_the_way() -> None:
    told = story([0.2 + 0.03 * (n % 20) for n in range(60)])
    assert told[5].fit.law is None or told[5].fit.law.loads >= 4
    assert told[-1].fit.law is not None


def test_too_few_windows_tell_nothing_and_say_so() -> None:
    told = story([0.99] * 19)
    assert {one.level for one in told} == {Level.CALM}
    assert told[-1].why == "19 of 20 windows with turns so far"
    assert told[-1].fit.law is None


def test_windows_without_turns_are_time_that_passes() -> None:
    detector = Detector()
    for n in range(20):
        detector.window(window(n, 0.6))
    for n in range(20, 60):
        empty = Window(began=Instant(n * TEN_S), lasts_us=TEN_S, turns=0, concurrency=0.0)
        told = detector.window(empty)
    assert told.level is Level.CALM
    assert told.why == "0 of 20 windows with turns so far"


def test_a_service_that_never_had_a_turn_is_calm() -> None:
    detector = Detector()
    empty = Window(began=Instant(0), lasts_us=TEN_S, turns=0, concurrency=0.0)
    assert detector.window(empty).level is Level.CALM


@pytest.mark.parametrize("began", [-3_600, 0, 60 + 31, 1_000_000])
def test_a_clock_that_jumps_begins_all_anew(began: int) -> None:
    detector = Detector()
    for n in range(6):
        detector.window(window(n, 0.6))
    at = Instant(began * SECOND)
    told = detector.window(replace(window(0, 0.6), began=at))
    assert told.why == "the clock jumped, or windows are missing: watching begins anew"
    told = detector.window(replace(window(0, 0.6), began=Instant(at + TEN_S)))
    assert told.why == "2 of 20 windows with turns so far"


def test_a_short_gap_is_none() -> None:
    detector = Detector()
    for n in (*range(20), 22, 23):
        told = detector.window(window(n, 0.6))
    assert told.why == "no sign of collapse"


@pytest.mark.parametrize(
    "flaw",
    [{"c_coord_us": nan}, {"concurrency": inf}, {"lasts_us": Micros(0)}, {"turns": -1}],
)
def test_a_window_that_makes_no_sense_changes_nothing(flaw) -> None:
    spoiled, clean = Detector(), Detector()
    for n in range(30):
        assert "is left out" in spoiled.window(replace(window(n, 0.6), **flaw)).why
        told = spoiled.window(window(n, 0.6)), clean.window(window(n, 0.6))
        assert told[0] == told[1]


def test_a_service_that_does_not_tell_its_loads_is_watched_by_its_c_coord() -> None:
    detector, levels = Detector(), []
    for n in range(60):
        more = 15_000.0 * max(0, n - 20)
        blind = replace(window(n, 0.6, more), s_scale=None, accelerators=None)
        levels.append(detector.window(blind).level)
    assert Level.WARNING in levels[22:48]


def test_the_same_windows_tell_the_same() -> None:
    loads = noisy(0.85, 60)
    assert story(loads) == story(loads)


def test_memory_does_not_grow() -> None:
    detector = Detector()
    for n, load in enumerate(noisy(0.8, 500)):
        detector.window(window(n, load))
    terms = DetectorTerms()
    assert len(detector._seen) == terms.history
    assert len(detector._residuals) == terms.history + terms.recent
    assert len(detector.scaling._bins) <= terms.law.bins_max


ANY = st.floats(0, 1e9)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 300), ANY, ANY, st.floats(0, 2), ANY), max_size=40))
def test_whatever_comes_is_told_in_numbers(rows) -> None:
    detector = Detector()
    for n, (turns, c_coord, algo, load, under_way) in enumerate(rows):
        told = detector.window(
            replace(
                window(n, 0.5, turns=turns),
                c_coord_us=c_coord if turns else None,
                c_algo_us=algo,
                s_scale=16 * load,
                concurrency=under_way,
            )
        )
        assert told.why
        assert told.time_to_cross_us is None or told.time_to_cross_us >= 0
        values = [sign.value for sign in told.signs.values() if sign.value is not None]
        assert all(map(isfinite, values))
