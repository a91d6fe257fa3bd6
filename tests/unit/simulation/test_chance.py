"""Chance from one seed."""

import pytest

from coordsvc.simulation.chance import (
    Draws,
    Purpose,
    even,
    exponential,
    lognormal,
    pareto,
    streams,
)


def some(draws: Draws, count: int = 5) -> list[float]:
    return [draws.uniform() for _ in range(count)]


def mean(shape, count: int = 20_000) -> float:
    return sum(shape((i + 0.5) / count) for i in range(count)) / count


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    assert some(streams(7)[Purpose.COSTS]) == some(streams(7)[Purpose.COSTS])
    assert some(streams(7)[Purpose.COSTS]) != some(streams(8)[Purpose.COSTS])
    assert some(streams(7)[Purpose.COSTS]) != some(streams(7, 1)[Purpose.COSTS])


def test_what_one_purpose_consumes_does_not_disturb_another() -> None:
    one, other = streams(7), streams(7)
    some(one[Purpose.DELAYS], 5_000)
    assert some(one[Purpose.COSTS]) == some(other[Purpose.COSTS])


def test_all_purposes_have_numbers_of_their_own() -> None:
    assert len({tuple(some(draws)) for draws in streams(7).values()}) == len(Purpose)


def test_a_seed_means_the_same_numbers_for_ever() -> None:
    """Should this fail, results of earlier releases are no longer those of the same seed."""
    draws = streams(1)[Purpose.ARRIVALS]
    assert [draws.below(1_000_000) for _ in range(3)] == [699_034, 174_335, 645_118]


def test_whole_numbers_lie_below_their_bound() -> None:
    draws = streams(3)[Purpose.ROLES]
    assert {draws.below(3) for _ in range(200)} == {0, 1, 2}


def test_an_index_is_as_likely_as_its_weight() -> None:
    draws = streams(3)[Purpose.ROLES]
    found = [draws.one_in((3.0, 0.0, 1.0)) for _ in range(4_000)]
    assert found.count(1) == 0
    assert 2_850 < found.count(0) < 3_150


def test_waits_have_the_mean_that_their_rate_says() -> None:
    draws = streams(3)[Purpose.ARRIVALS]
    waits = [draws.wait(4.0) for _ in range(4_000)]
    assert 235_000 < sum(waits) / len(waits) < 265_000
    assert all(isinstance(wait, int) for wait in waits)


@pytest.mark.parametrize("shape", [exponential, even, lognormal(1.5, 100.0), pareto(1.2, 300.0)])
def test_shapes_have_mean_one_and_never_fall(shape) -> None:
    assert mean(shape) == pytest.approx(1.0, abs=0.01)
    lengths = [shape(i / 100) for i in range(100)]
    assert lengths == sorted(lengths)
    assert lengths[0] >= 0


def test_a_heavy_tail_is_heavy_and_bounded() -> None:
    shape = pareto(1.2, 300.0)
    assert shape(0.999_999) / shape(0.0) == pytest.approx(300.0, rel=0.01)
    assert mean(lambda u: shape(0.9 + u / 10)) / 10 > 0.4
