"""The nearest rising concave curve, against a slow twin and the conditions of an optimum."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordsvc.core.concave import (
    NOTHING,
    Curve,
    Sums,
    Trust,
    grid,
    nearest,
    non_negative,
    regress,
)

POINTS = st.lists(st.integers(1, 60), min_size=1, max_size=9, unique=True).map(sorted)
WEIGHTS = st.floats(0.01, 100)
VALUES = st.floats(-50, 50)


@st.composite
def clouds(draw):
    points = draw(POINTS)
    size = len(points)
    targets = draw(st.lists(VALUES, min_size=size, max_size=size))
    weights = draw(st.lists(WEIGHTS, min_size=size, max_size=size))
    return points, targets, weights


@st.composite
def concave_curves(draw):
    points = draw(POINTS)
    size = len(points)
    drops = draw(st.lists(st.floats(0, 10), min_size=size, max_size=size))
    return points, [
        sum(drop * min(n, kink) for kink, drop in zip(points, drops, strict=True)) for n in points
    ]


def slopes(curve: Curve) -> list[float]:
    return [curve.slope(n) for n in range(curve.points[-1] + 2)]


def distance(values, targets, weights) -> float:
    return sum(w * (v - y) ** 2 for v, y, w in zip(values, targets, weights, strict=True))


def by_small_steps(points, targets, weights) -> list[float]:
    """The twin: coordinate descent on the kinks, one at a time, until nothing moves."""
    ramps = [[min(n, kink) / kink for n in points] for kink in points]
    kinks = [0.0] * len(points)
    values = [0.0] * len(points)
    for _ in range(3_000):
        for k, ramp in enumerate(ramps):
            pull = sum(
                w * r * (y - v) for w, r, y, v in zip(weights, ramp, targets, values, strict=True)
            )
            stiff = sum(w * r * r for w, r in zip(weights, ramp, strict=True))
            moved = max(0.0, kinks[k] + pull / stiff) - kinks[k]
            kinks[k] += moved
            values = [v + moved * r for v, r in zip(values, ramp, strict=True)]
    return values


@given(clouds())
def test_the_answer_rises_ever_less_steeply_and_never_falls(cloud) -> None:
    steps = slopes(nearest(*cloud))
    scale = max(1.0, *steps)
    assert min(steps) >= 0
    assert all(a >= b - 1e-9 * scale for a, b in pairwise(steps))


@settings(max_examples=25, deadline=None)
@given(clouds())
def test_the_slow_twin_finds_nothing_nearer(cloud) -> None:
    points, targets, weights = cloud
    twin = distance(by_small_steps(points, targets, weights), targets, weights)
    ours = distance(nearest(points, targets, weights).values, targets, weights)
    assert ours <= twin + 1e-6 * max(1.0, twin)


@given(clouds())
def test_no_ramp_could_be_added_or_shortened_to_come_nearer(cloud) -> None:
    """The conditions of Kuhn and Tucker: no pull on any ramp, and none left along the curve."""
    points, targets, weights = cloud
    curve = nearest(points, targets, weights)
    rest = [w * (y - v) for w, y, v in zip(weights, targets, curve.values, strict=True)]
    large = max(1.0, *(w * abs(y) for w, y in zip(weights, targets, strict=True)))
    for kink in points:
        pull = sum(r * min(n, kink) / kink for r, n in zip(rest, points, strict=True))
        assert pull <= 1e-6 * large
    along = sum(r * v for r, v in zip(rest, curve.values, strict=True))
    assert abs(along) <= 1e-5 * large * max(1.0, *map(abs, targets))


@example(([1, 2, 3, 4, 30, 31], [7.00001 * n for n in (1, 2, 3, 4, 30, 31)]), 1.0)
@given(concave_curves(), WEIGHTS)
def test_what_is_such_a_curve_already_stays_as_it_is(drawn, weight) -> None:
    points, values = drawn
    weights = [weight * (1 + n % 3) for n in points]
    assert nearest(points, values, weights).values == pytest.approx(values, abs=1e-6)


def test_the_heavier_point_moves_less() -> None:
    falling = [4.0, 2.0]
    even = nearest([1, 2], falling, [1, 1])
    first = nearest([1, 2], falling, [9, 1])
    second = nearest([1, 2], falling, [1, 9])
    assert even.values == pytest.approx((3, 3))
    assert first.values == pytest.approx((3.8, 3.8))
    assert second.values == pytest.approx((2.2, 2.2))


def test_only_the_proportion_of_weights_matters() -> None:
    light = nearest([1, 3, 7], [5, 1, 9], [1e-9, 2e-9, 3e-9])
    heavy = nearest([1, 3, 7], [5, 1, 9], [1, 2, 3])
    assert light.values == pytest.approx(heavy.values)


def test_a_step_becomes_a_straight_ramp() -> None:
    """A gang of four: nothing up to three, all at four. The nearest concave curve is too high."""
    curve = nearest([1, 2, 3, 4], [0, 0, 0, 4], [1, 1, 1, 1])
    assert slopes(curve)[:4] == pytest.approx([16 / 30] * 4)


def test_what_lies_below_nothing_is_taken_for_nothing() -> None:
    assert nearest([1, 2], [-1, -2], [1, 1]).values == (0, 0)


def test_a_curve_is_straight_between_points_and_flat_after_the_last() -> None:
    curve = Curve((2, 6), (4.0, 6.0))
    assert [curve.at(n) for n in (0, 1, 2, 4, 6, 99)] == [0, 2, 4, 5, 6, 6]
    assert [curve.slope(n) for n in (0, 1, 2, 5, 6, 98)] == [2, 2, 0.5, 0.5, 0, 0]
    assert Curve((), ()).at(3) == Curve((), ()).slope(3) == 0


def test_points_that_do_not_rise_and_weights_of_nothing_are_bugs() -> None:
    with pytest.raises(AssertionError, match="rise"):
        nearest([2, 2], [1, 1], [1, 1])
    with pytest.raises(AssertionError, match="above 0"):
        nearest([1], [1], [0])
    with pytest.raises(AssertionError, match="for each"):
        nearest([1], [1, 2], [1])


def test_non_negative_least_squares_leaves_out_what_would_be_negative() -> None:
    matrix = np.array([[1.0, 1.0], [0.0, 1.0]])
    assert non_negative(matrix, np.array([1.0, 2.0])) == pytest.approx([0.0, 1.5])
    assert non_negative(matrix, np.array([3.0, 2.0])) == pytest.approx([1.0, 2.0])


# --- regression on what grants yielded


def grants(worth, seconds) -> Sums:
    sums = Sums()
    for value, busy_s in zip(worth, seconds, strict=True):
        sums.take(value, busy_s)
    return sums


def test_a_bundle_yields_what_its_grants_were_worth_by_the_time_they_took() -> None:
    """Two of 1 s and one of 4 s, each worth 1: half a phase a second; four bundles, two."""
    seen = {4: grants([1, 1, 1], [1, 1, 4])}
    fit = regress([4], seen, [0.0], Trust(guess_count=1e-12))
    assert fit.middle.at(4) == pytest.approx(2)


def test_the_guess_counts_as_many_grants_as_it_was_told() -> None:
    seen = {2: grants([1, 1, 1], [1, 1, 1])}
    assert regress([2], seen, [6.0], Trust(guess_count=1)).middle.at(2) == pytest.approx(3)
    assert regress([2], seen, [6.0], Trust(guess_count=3)).middle.at(2) == pytest.approx(4)


def test_where_nothing_was_seen_the_guess_stands_and_its_doubt_is_the_band() -> None:
    fit = regress([1, 2], {}, [4.0, 6.0], Trust(guess_doubt=0.25, band_errors=2))
    assert fit.middle.values == (4, 6)
    assert fit.low.values == (2, 3)
    assert fit.high.values == (6, 9)


def test_the_band_is_as_wide_as_the_error_of_a_mean() -> None:
    """Against 400 repetitions: 60 grants each, of 1 s in the mean."""
    rng, trust = np.random.default_rng(1), Trust(guess_count=1e-9, band_errors=1)
    fits = [
        regress([1], {1: grants([1] * 60, rng.gamma(4, 0.25, 60))}, [1], trust) for _ in range(400)
    ]
    widths = [fit.high.at(1) - fit.middle.at(1) for fit in fits]
    assert np.mean(widths) == pytest.approx(np.std([f.middle.at(1) for f in fits]), rel=0.15)


def test_sums_that_are_scaled_yield_the_same_and_count_less() -> None:
    sums = grants([1, 2], [3, 4])
    half = grants([1, 2], [3, 4])
    half.scale(0.5)
    assert (half.count, half.value / half.busy_s) == (1, sums.value / sums.busy_s)
    half.add(half)
    assert half == sums


def test_a_grid_tells_small_numbers_apart_and_large_ones_by_a_fifth() -> None:
    points = grid(1_000)
    assert points[:11] == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)
    assert points[-1] == 1_000
    assert all(a < b <= a + max(1, a / 5) for a, b in pairwise(points))
    assert grid(1) == (1,)


def test_of_nothing_nothing_is_known() -> None:
    assert NOTHING.middle.at(5) == NOTHING.high.at(5) == 0


def test_a_guess_of_no_weight_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="gaps"):
        Trust(guess_count=0)
