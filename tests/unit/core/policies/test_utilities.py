"""Utilities that are set by hand."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.policies.utilities import PowerUtilities
from coordsvc.core.units import AgentId
from tests.unit.core.policies.filling import at

A, B = AgentId("a"), AgentId("b")


def test_the_gains_add_up_to_the_utility() -> None:
    utilities = PowerUtilities(weights={A: 3.0}, alpha=0.5)
    assert sum(utilities.marginal(A, n) for n in range(16)) == pytest.approx(3 * 16**0.5)
    assert sum(utilities.marginal(B, n) for n in range(16)) == pytest.approx(16**0.5)


def test_alpha_0_is_the_logarithm() -> None:
    utilities = PowerUtilities(alpha=0)
    assert sum(utilities.marginal(A, n) for n in range(9)) == pytest.approx(log(10))


def test_alpha_1_gains_the_same_for_ever() -> None:
    utilities = PowerUtilities(weights={A: 2.0}, alpha=1)
    assert [utilities.marginal(A, n) for n in (0, 1, 50_000)] == [2, 2, 2]


@given(st.floats(0, 1), st.floats(0.01, 100), st.integers(0, 50_000))
def test_gains_are_never_below_0_and_never_rise(alpha: float, weight: float, held: int) -> None:
    utilities = PowerUtilities(weights={A: weight}, alpha=alpha)
    first, second = utilities.marginal(A, held), utilities.marginal(A, held + 1)
    assert 0 <= second <= first + 1e-9 * weight


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"alpha": -0.1}, {"weights": {A: -1.0}}])
def test_what_is_not_concave_or_falls_is_a_bug(wrong: dict[str, float]) -> None:
    with pytest.raises(AssertionError):
        PowerUtilities(**wrong)


def test_what_is_set_by_hand_does_not_change() -> None:
    assert not PowerUtilities().refresh(at(9), {A: 3})
