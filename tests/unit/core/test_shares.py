"""Shares are whole numbers that compare as fractions do (the slow twin)."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.resources import Resources
from coordsvc.core.shares import WHOLE_BITS, as_fraction, dominant_share

LARGE = st.integers(0, 10**12)
AMOUNTS = st.integers(0, 50)
BUNDLES = st.builds(Resources, AMOUNTS, AMOUNTS, AMOUNTS)
POOLS = st.builds(Resources, LARGE, LARGE, LARGE)
WEIGHTS = st.integers(1, 9)


def twin(held: Resources, capacity: Resources, weight: int = 1) -> Fraction:
    return max(
        (
            Fraction(part, whole * weight)
            for part, whole in zip(held.amounts(), capacity.amounts(), strict=True)
            if whole
        ),
        default=Fraction(0),
    )


@given(BUNDLES, BUNDLES, WEIGHTS)
def test_the_dominant_share_is_the_largest_fraction_of_any_one_resource(
    held: Resources, capacity: Resources, weight: int
) -> None:
    exact = twin(held, capacity, weight) * 2**WHOLE_BITS
    assert exact - 1 < dominant_share(held, capacity, weight) <= exact


@given(BUNDLES, BUNDLES, WEIGHTS, BUNDLES, BUNDLES, WEIGHTS)
def test_shares_of_small_pools_are_ordered_as_fractions_are(
    held: Resources, capacity: Resources, weight: int, other: Resources, pool: Resources, heavy: int
) -> None:
    ours, theirs = dominant_share(held, capacity, weight), dominant_share(other, pool, heavy)
    exact, exact_theirs = twin(held, capacity, weight), twin(other, pool, heavy)
    assert (ours < theirs) == (exact < exact_theirs)
    assert (ours == theirs) == (exact == exact_theirs)


@given(POOLS, POOLS, WEIGHTS, WEIGHTS)
def test_shares_of_one_large_pool_are_never_in_the_wrong_order(
    held: Resources, other: Resources, weight: int, heavy: int
) -> None:
    """In a pool of a billion GPUs, where fractions may differ by less than 2**-64."""
    pool = Resources(10**12, 10**12 - 1, 10**12 + 1)
    if twin(held, pool, weight) <= twin(other, pool, heavy):
        assert dominant_share(held, pool, weight) <= dominant_share(other, pool, heavy)


@given(BUNDLES, BUNDLES, st.integers(1, 10**9))
def test_equal_fractions_are_equal_numbers(held: Resources, capacity: Resources, k: int) -> None:
    many = Resources(*(amount * k for amount in held.amounts()))
    large = Resources(*(amount * k for amount in capacity.amounts()))
    assert dominant_share(many, large) == dominant_share(held, capacity)
    assert dominant_share(many, capacity, k) == dominant_share(held, capacity)


def test_the_papers_user_a_holds_two_thirds() -> None:
    cluster = Resources(cpu_milli=9_000, bandwidth_mbps=18_000)
    three_tasks = Resources(cpu_milli=3_000, bandwidth_mbps=12_000)
    assert dominant_share(three_tasks, cluster) == 2 * 2**WHOLE_BITS // 3
    assert as_fraction(dominant_share(three_tasks, cluster)) == pytest.approx(2 / 3)


def test_each_resource_can_be_the_dominant_one() -> None:
    pool = Resources(100, 100, 100)
    for held in (Resources(50, 1, 2), Resources(1, 50, 2), Resources(1, 2, 50)):
        assert as_fraction(dominant_share(held, pool)) == 0.5
        assert as_fraction(dominant_share(held, pool, 2)) == 0.25


def test_what_the_pool_lacks_counts_nothing_although_it_is_held() -> None:
    assert dominant_share(Resources(gpu_milli=1), Resources(cpu_milli=1)) == 0
    assert dominant_share(Resources(gpu_milli=1), Resources()) == 0


def test_more_than_the_pool_has_is_more_than_the_whole() -> None:
    """As while a node leaves under running grants."""
    held = Resources(gpu_milli=3_000)
    assert as_fraction(dominant_share(held, Resources(gpu_milli=2_000))) == 1.5


def test_a_weight_of_nothing_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        dominant_share(Resources(), Resources(gpu_milli=1), 0)
