"""Bundles are exact: thousandths in, thousandths out, nothing rounded and nothing below zero."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.errors import Overdraft
from coordsvc.core.resources import Resources, milli

AMOUNTS = st.integers(0, 10**9)
BUNDLES = st.builds(Resources, AMOUNTS, AMOUNTS, AMOUNTS)


@given(BUNDLES, BUNDLES)
def test_what_is_added_can_be_taken_away_again_exactly(a: Resources, b: Resources) -> None:
    assert (a + b) - b == a
    assert (a + b).covers(a)


@given(BUNDLES, BUNDLES)
def test_subtraction_works_exactly_when_the_bundle_is_covered(a: Resources, b: Resources) -> None:
    if a.covers(b):
        assert (a - b) + b == a
    else:
        with pytest.raises(Overdraft):
            a - b


def test_one_short_amount_is_enough_not_to_cover() -> None:
    assert not Resources(gpu_milli=1_000, cpu_milli=99).covers(Resources(cpu_milli=100))


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(Overdraft):
        Resources(bandwidth_mbps=-1)


def test_only_a_bundle_of_nothing_is_false() -> None:
    assert not Resources()
    assert Resources(bandwidth_mbps=1)


def test_a_bundle_shows_what_it_has_and_no_zeroes() -> None:
    assert str(Resources(gpu_milli=500, bandwidth_mbps=10)) == "gpu=500 bandwidth=10"
    assert str(Resources()) == "nothing"


@given(BUNDLES, BUNDLES.filter(bool))
def test_times_held_is_how_often_the_bundle_can_be_taken_away(
    have: Resources, bundle: Resources
) -> None:
    times = have.times_held(bundle)
    taken = Resources(*(amount * times for amount in bundle.amounts()))
    assert have.covers(taken)
    assert not have.covers(taken + bundle)


def test_a_bundle_of_nothing_fits_no_number_of_times() -> None:
    with pytest.raises(Overdraft):
        Resources(gpu_milli=1).times_held(Resources())


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (0.5, 500),
        ("0.001", 1),
        (3, 3_000),
        (1e-3, 1),
        ("12.250", 12_250),
        (0.1, 100),
        ("-1", -1000),
    ],
)
def test_milli_is_exact(said: float | str, meant: int) -> None:
    assert milli(said) == meant


@pytest.mark.parametrize(
    "said",
    ["0.0001", 1 / 3, "nan", "inf", math.nan, -math.inf, "half", "", True, f"0.5{0:040}1"],
)
def test_milli_refuses_what_it_would_have_to_round(said: float | str) -> None:
    with pytest.raises(ValueError, match=r"decimals|number"):
        milli(said)


@given(st.integers(0, 10**9))
def test_milli_reads_back_every_thousandth(thousandths: int) -> None:
    assert milli(f"{thousandths // 1_000}.{thousandths % 1_000:03}") == thousandths
