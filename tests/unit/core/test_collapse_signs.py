"""Each sign alone: on where it should be, off elsewhere, and its words."""

from dataclasses import replace
from math import inf

import pytest

from coordsvc.core.collapse_signs import (
    OFF,
    Margin,
    amplification_sign,
    burn_sign,
    course,
    margin_of,
    margin_sign,
    marginal_sign,
    restless_sign,
)
from coordsvc.core.queue_law import QueueLaw
from coordsvc.core.scaling import Fit, Law
from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.core.window import Window

BOUND = 500_000.0
PAIRS = ((12, 2, 3.0), (6, 1, 6.0))
CALM = Window(
    began=Instant(0),
    lasts_us=Micros(10 * SECOND),
    turns=100,
    concurrency=9.0,
    c_coord_us=30_000.0,
    c_algo_us=1_100_000.0,
    s_scale=8.0,
    accelerators=16.0,
    offers_made=340,
    offers_accepted=340,
)
LAW = Law(
    rate=1.0, sigma=0.02, kappa=0.002, best=22.0, loads=9, lowest=4.0, highest=40.0, error=0.05
)


def rising(first: float, step: float, count: int = 24) -> list[Window]:
    return [replace(CALM, c_coord_us=first + n * step) for n in range(count)]


def loaded(first: float, step: float, count: int = 24) -> list[Window]:
    return [replace(CALM, s_scale=16 * (first + n * step)) for n in range(count)]


def margin(seen: list[Window], *, unexplained: bool = True) -> Margin:
    found = margin_of(seen, BOUND, 30_000.0, QueueLaw(), (24, 16), unexplained=unexplained)
    assert found is not None
    return found


def test_a_series_on_its_way_says_when_it_will_be_there() -> None:
    found = course([float(n) for n in range(10)], 15.0, (10, 5))
    assert found is not None
    assert (found.level, found.slope, found.crosses) == pytest.approx((9.0, 1.0, 6.0))


def test_a_series_that_stands_or_falls_is_not_on_its_way() -> None:
    for values in ([4.0] * 9, [9.0 - n for n in range(9)]):
        found = course(values, 15.0, (9,))
        assert found is not None
        assert (found.slope, found.crosses) == (0.0, inf)
    assert course([1.0, 2.0], 15.0, (9,)) is None


def test_a_rise_that_bends_is_the_slower_of_its_spans() -> None:
    bent = [float(min(n, 16)) for n in range(24)]
    whole, both = course(bent, 20.0, (24,)), course(bent, 20.0, (24, 6))
    assert whole is not None
    assert both is not None
    assert whole.crosses < 4
    assert both.crosses == inf


def test_what_is_there_has_no_way_to_go() -> None:
    there = course([20.0] * 9, 15.0, (9, 3))
    assert there is not None
    assert there.crosses == 0.0


def test_c_coord_on_its_way_to_the_bound_is_a_sign_with_the_time_that_is_left() -> None:
    sign = margin_sign(margin(rising(80_000.0, 10_000.0)), BOUND, 20.0)
    assert sign.on
    assert sign.value == pytest.approx(19.0)
    assert sign.says == "C_coord 0.31 s grows 0.01 s a window: crosses 0.50 s in 19 windows"


def test_the_same_further_off_than_the_horizon_is_none() -> None:
    sign = margin_sign(margin(rising(80_000.0, 10_000.0)), BOUND, 10.0)
    assert not sign.on
    assert sign.value == pytest.approx(19.0)


def test_load_on_its_way_is_a_sign_before_c_coord_shows_anything() -> None:
    found = margin(loaded(0.6, 0.012))
    assert found.c_coord.crosses == inf
    sign = margin_sign(found, BOUND, 10.0)
    assert sign.on
    assert sign.says.startswith("load 88% grows 1.2% a window: at ")


def test_a_pool_that_is_full_already_is_at_its_goal() -> None:
    sign = margin_sign(margin(loaded(1.0, 0.0)), BOUND, 10.0)
    assert sign.on
    assert sign.value == 0.0
    assert sign.says.endswith("C_coord crosses 0.50 s now")


def test_c_coord_that_its_load_explains_goes_where_the_load_goes() -> None:
    found = margin(rising(80_000.0, 10_000.0), unexplained=False)
    assert found.c_coord.crosses == pytest.approx(19.0)
    assert found.crosses == inf


def test_one_wild_window_is_no_way_to_anywhere() -> None:
    wild = [*[CALM] * 23, replace(CALM, c_coord_us=60e6)]
    assert margin(wild).crosses > 15


def test_without_loads_c_coord_alone_counts() -> None:
    blind = [replace(one, s_scale=None) for one in rising(80_000.0, 10_000.0)]
    found = margin(blind, unexplained=False)
    assert found.load is None
    assert found.crosses == pytest.approx(19.0)


def test_without_turns_there_is_no_margin() -> None:
    empty = [replace(CALM, turns=0, c_coord_us=None)] * 9
    assert margin_of(empty, BOUND, 0.0, QueueLaw(), (24, 16), unexplained=True) is None


def test_beyond_the_best_number_another_turn_only_harms() -> None:
    sign = marginal_sign(Fit(law=LAW, says="fitted"), 30.0, 0.2)
    assert sign.on
    assert sign.value is not None
    assert sign.value < 0
    assert sign.says == "30 turns under way, and 22 would be best (fitted)"
    assert not marginal_sign(Fit(law=LAW, says=""), 20.0, 0.2).on


def test_a_law_that_is_no_law_says_nothing() -> None:
    assert marginal_sign(Fit(law=None, says="no"), 30.0, 0.2) == OFF
    assert marginal_sign(Fit(law=replace(LAW, error=0.5), says=""), 30.0, 0.2) == OFF
    assert not marginal_sign(Fit(law=replace(LAW, best=None), says=""), 30.0, 0.2).on


def slow(counts: list[int]) -> list[Window]:
    return [replace(CALM, turns_slow=count) for count in counts]


def test_a_budget_that_burns_fast_and_still_does_is_a_sign() -> None:
    sign = burn_sign(slow([0] * 6 + [20] * 6 + [40, 40]), PAIRS, 0.05)
    assert sign.on
    assert sign.value == pytest.approx(200 / 1_200 / 0.05, rel=0.02)
    assert sign.says == "17% of the turns of 12 windows were above the bound"


def test_a_fire_that_is_out_is_no_sign_and_neither_is_a_spark() -> None:
    assert not burn_sign(slow([50] * 10 + [0, 0]), PAIRS, 0.05).on
    assert not burn_sign(slow([0] * 11 + [90]), PAIRS, 0.05).on
    assert burn_sign(slow([]), PAIRS, 0.05) == OFF
    assert burn_sign([replace(CALM, turns=0)] * 12, PAIRS, 0.05) == OFF


def amplified(retries: int, unused: int) -> list[Window]:
    worse = replace(CALM, retries=retries, offers_unused=unused)
    return [CALM] * 10 + [worse] * 6


@pytest.mark.parametrize(("retries", "unused"), [(40, 0), (0, 40)])
def test_work_that_takes_more_offers_is_a_sign(retries: int, unused: int) -> None:
    sign = amplification_sign(amplified(retries, unused), 6, 0.02, 50, 3.0)
    assert sign.on
    assert sign.says == f"offers per task {sign.value:.2f}, was 1.00"


def test_a_little_more_is_none_and_neither_is_what_was_always_so() -> None:
    assert not amplification_sign(amplified(3, 0), 6, 0.02, 50, 3.0).on
    always = [replace(CALM, offers_unused=300)] * 16
    assert not amplification_sign(always, 6, 0.02, 50, 3.0).on


def test_too_few_tasks_tell_nothing() -> None:
    few = [replace(one, offers_accepted=2, retries=0) for one in amplified(0, 40)]
    assert amplification_sign(few, 6, 0.02, 50, 3.0) == OFF


def test_c_coord_that_swings_wider_and_slower_is_a_sign() -> None:
    swings = [30_000.0, 31_000.0] * 6 + [30_000.0] * 3 + [90_000.0] * 6 + [30_000.0] * 3
    seen = [replace(CALM, c_coord_us=one) for one in swings]
    sign = restless_sign(seen, 4.0, 0.3)
    assert sign.on
    assert "60.0 times as wide, memory 0.58" in sign.says


def test_c_coord_that_swings_wider_and_at_once_back_is_none() -> None:
    swings = [30_000.0, 31_000.0] * 6 + [30_000.0, 90_000.0] * 6
    assert not restless_sign([replace(CALM, c_coord_us=one) for one in swings], 4.0, 0.3).on
    assert restless_sign([CALM] * 24, 4.0, 0.3) == OFF
