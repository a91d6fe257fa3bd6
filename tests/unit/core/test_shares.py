"""Shares compare exactly, as fractions do (the slow twin)."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.resources import Resources
from coordsvc.core.shares import Share, dominant_share

PARTS = st.integers(0, 10**12)
WHOLES = st.integers(1, 10**12)
SHARES = st.builds(Share, PARTS, WHOLES)
AMOUNTS = st.integers(0, 50)
BUNDLES = st.builds(Resources, AMOUNTS, AMOUNTS, AMOUNTS)


def twin(share: Share) -> Fraction:
    return Fraction(share.part, share.whole)


@given(SHARES, SHARES)
def test_shares_are_ordered_as_fractions_are(a: Share, b: Share) -> None:
    assert (a < b) == (twin(a) < twin(b))
    assert (a <= b) == (twin(a) <= twin(b))
    assert (a > b) == (twin(a) > twin(b))
    assert (a == b) == (twin(a) == twin(b))


def test_equal_fractions_of_different_parts_are_equal_and_so_no_keys() -> None:
    assert Share(1, 3) == Share(2, 6)
    assert Share(1, 3) != 1 / 3
    with pytest.raises(TypeError, match="not as keys"):
        hash(Share(1, 3))


def test_floats_are_for_people_only() -> None:
    assert float(Share(1, 4)) == 0.25


@given(BUNDLES, BUNDLES, st.integers(1, 9))
def test_the_dominant_share_is_the_largest_fraction_of_any_one_resource(
    held: Resources, capacity: Resources, weight: int
) -> None:
    expected = max(
        (
            Fraction(part, whole * weight)
            for part, whole in zip(held.amounts(), capacity.amounts(), strict=True)
            if whole
        ),
        default=Fraction(0),
    )
    assert twin(dominant_share(held, capacity, weight)) == expected


def test_the_papers_user_a_holds_two_thirds() -> None:
    cluster = Resources(cpu_milli=9_000, bandwidth_mbps=18_000)
    three_tasks = Resources(cpu_milli=3_000, bandwidth_mbps=12_000)
    assert dominant_share(three_tasks, cluster) == Share(2, 3)


def test_a_weight_of_nothing_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        dominant_share(Resources(), Resources(gpu_milli=1), 0)
