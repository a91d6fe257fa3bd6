"""Intervals, ratios, crossings and splits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.bench.policies_figures import (
    crossing,
    interval,
    neighbours,
    ratio,
    target,
    whole_split,
)


def test_an_interval_is_students() -> None:
    # five values with mean 3 and standard deviation sqrt(2.5): 2.776 * sqrt(2.5 / 5) = 1.963
    assert interval([1, 2, 3, 4, 5]) == {"mean": 3.0, "low": 1.037, "high": 4.963}


def test_of_one_value_there_is_no_interval() -> None:
    assert interval([7.0]) == {"mean": 7.0, "low": None, "high": None}


def test_a_ratio_is_of_means_and_its_interval_holds_it() -> None:
    told = ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0])
    assert told["mean"] == 2.5
    assert 2.0 <= told["low"] < 2.5 < told["high"] <= 3.0


def test_a_ratio_that_is_the_same_for_each_seed_is_certain() -> None:
    assert ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == {"mean": 2.0, "low": 2.0, "high": 2.0}


def test_a_target_is_met_on_the_side_that_it_names() -> None:
    assert target("share", 0.93, 0.93, at_least=True)["ok"] is True
    assert target("share", 0.92, 0.93, at_least=True)["ok"] is False
    assert target("p95", 0.5, 0.5, at_least=False)["ok"] is True
    assert target("p95", 0.51, 0.5, at_least=False)["ok"] is False
    assert target("p95", None, 0.5, at_least=False)["ok"] is False


def test_a_limit_is_crossed_between_two_loads_by_the_logarithm() -> None:
    points = {0.5: 1.0, 0.7: 100.0, 0.9: 1_000.0}
    assert crossing(points, 10.0) == pytest.approx(0.6)
    assert crossing(points, 5_000.0) == 0.9
    assert crossing(points, 0.5) is None


def test_the_walls_of_two_windows_are_seven_two_and_seven() -> None:
    assert whole_split({"a": 0.7, "b": 0.2, "c": 0.7}, 16) == {"a": 7, "b": 2, "c": 7}
    assert whole_split(dict.fromkeys("abcdef", 0.75), 12) == dict.fromkeys("abcdef", 2)


@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=4),
    st.integers(4, 9),
)
def test_no_single_move_makes_the_most_loaded_less_loaded(wanted: list[float], slots: int) -> None:
    asked = {f"r{n}": part for n, part in enumerate(wanted)}
    split = whole_split(asked, slots)
    assert sum(split.values()) == slots

    def worst(of: dict[str, int]) -> float:
        return max(asked[name] / of[name] for name in asked)

    assert all(worst(other) >= worst(split) for other in neighbours(split))


def test_neighbours_move_one_slot_and_leave_nobody_without() -> None:
    assert neighbours({"a": 2, "b": 1}) == [{"a": 1, "b": 2}]
    assert len(neighbours({"a": 2, "b": 2, "c": 2})) == 6
