"""Trend, shift, share and restlessness of a series."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.change import Cusum, line, restless, share


def test_a_line_is_found_through_noise() -> None:
    draws = np.random.default_rng(3)
    values = [1.0 + 0.5 * n + push for n, push in enumerate(draws.normal(0, 0.1, 24))]
    found = line(values)
    assert found is not None
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.level == pytest.approx(12.5, abs=0.15)
    assert found.mean == pytest.approx(6.75, abs=0.1)


def test_what_comes_in_spikes_counts_with_its_mean() -> None:
    spikes = [0.0, 0.0, 9.0] * 8
    found = line(spikes)
    assert found is not None
    assert found.mean == 3.0


def test_two_values_have_no_line() -> None:
    assert line([1.0, 2.0]) is None
    assert line([]) is None


@given(st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=30), st.integers(-9, 9))
def test_a_line_is_the_one_that_numpy_finds_and_turns_over(values: list[int], shift: int) -> None:
    found, mirrored = line(values), line([shift - value for value in values])
    assert found is not None
    assert mirrored is not None
    slope, level = np.polyfit(np.arange(len(values)) - len(values) + 1, values, 1)
    assert found.slope == pytest.approx(slope, rel=1e-6, abs=1e-3)
    assert found.level == pytest.approx(level, rel=1e-6, abs=1e-2)
    assert mirrored.slope == pytest.approx(-found.slope, abs=1e-6)


def test_a_shift_is_found_and_no_single_value_is_one() -> None:
    cusum = Cusum(slack=1.0, limit=12.0, most=6.0)
    assert not cusum.add(1e9)
    assert cusum.sum == 5.0
    assert not any(cusum.add(0.5) for _ in range(100))
    assert cusum.sum == 0.0
    assert [cusum.add(4.0) for _ in range(5)] == [False, False, False, False, True]


def test_a_shift_that_is_over_is_forgotten_in_time() -> None:
    cusum = Cusum(slack=1.0, limit=12.0, most=6.0)
    for _ in range(1_000):
        cusum.add(6.0)
    assert cusum.sum == 24.0
    assert [cusum.add(0.0) for _ in range(13)].count(False) == 2


def test_a_share_is_of_the_last_ones() -> None:
    assert share([9, 0, 1, 1], [9, 9, 2, 2], last=2) == 0.5
    assert share([0, 0], [0, 0], last=2) is None
    assert share([], [], last=3) is None


def test_a_series_that_comes_back_slowly_has_a_memory() -> None:
    draws, slow = np.random.default_rng(5), [0.0]
    for push in draws.normal(size=400):
        slow.append(0.9 * slow[-1] + push)
    quick = restless(draws.normal(size=400))
    found = restless(slow)
    assert quick is not None
    assert found is not None
    assert found.memory == pytest.approx(0.9, abs=0.07)
    assert quick.memory == pytest.approx(0.0, abs=0.12)
    assert found.variance > 3 * quick.variance


def test_a_series_that_stands_still_has_neither() -> None:
    assert restless([3.0] * 9) is None
    assert restless([1.0, 2.0, 3.0]) is None
