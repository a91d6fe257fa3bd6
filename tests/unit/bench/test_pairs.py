"""Figures in pairs: order, ratios, and what is told of them."""

import pytest

from coordsvc.bench.pairs import Spread, middle, ratios, rotated, shown


def test_each_thing_is_first_in_turn_and_none_is_lost() -> None:
    things = ["a", "b", "c"]
    orders = [rotated(things, turn) for turn in range(6)]
    assert [order[0] for order in orders] == ["a", "b", "c", "a", "b", "c"]
    assert all(sorted(order) == things for order in orders)


def test_ratios_are_taken_within_a_round() -> None:
    assert ratios([1.0, 20.0], [2.0, 10.0]) == [0.5, 2.0]


def test_rounds_that_do_not_match_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_the_middle_is_robust_against_one_wild_round() -> None:
    assert Spread.of([1.0, 1.1, 0.9, 1.0, 50.0]).middle == 1.0
    assert middle([3.0, 1.0, 2.0], 1) == 2.0


def test_quartiles_lie_around_the_median() -> None:
    spread = Spread.of([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (spread.low, spread.middle, spread.high) == (2.0, 3.0, 4.0)


def test_a_single_round_has_no_spread() -> None:
    assert Spread.of([1.5]) == Spread(1.5, 1.5, 1.5)


def test_a_ratio_is_shown_with_its_quartiles() -> None:
    told = shown("p50_ratio", [1.0, 1.123456, 1.2])
    assert told == {"p50_ratio": 1.1235, "p50_ratio_iqr": [1.0617, 1.1617]}
