"""Intervals against answers that are known, and against chance itself."""

import math

import numpy as np
import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import statistics
from coordsvc.experiments.statistics import Interval, at_least, below, short
from coordsvc.experiments.study import Verdict


def test_runs_that_are_all_alike_leave_no_doubt() -> None:
    assert statistics.mean([0.5] * 8) == Interval(0.5, 0.5, 0.5, 8)


def test_the_mean_of_runs_lies_in_its_interval_and_that_within_the_runs() -> None:
    found = statistics.mean([1.0, 2.0, 3.0, 10.0])
    assert found.value == 4.0
    assert found.low < 4.0 < found.high
    # Student's: 4 -+ 3.182 * 4.08 / 2; the tails of four runs are coarse
    assert (found.low, found.high) == (pytest.approx(-2.5, abs=2.5), pytest.approx(10.5, abs=2.5))
    assert statistics.mean([1.0, 2.0, 3.0, 10.0]) == found, "the same rows, the same interval"


def test_two_runs_leave_much_open() -> None:
    """Both tails are one of them alone; sqrt(2) * 12.706 / 1.96 is 9.168 times as far."""
    found = statistics.mean([1.0, 2.0])
    assert found.value == 1.5
    assert found.low == pytest.approx(1.5 - 0.5 * 9.168, abs=1e-3)
    assert found.high == pytest.approx(1.5 + 0.5 * 9.168, abs=1e-3)


def test_a_ratio_is_one_of_means_drawn_in_pairs() -> None:
    found = statistics.ratio([2.0, 4.0], [1.0, 4.0])
    assert found.value == 6 / 5
    assert (found.low < 1.0, found.high > 2.0) == (True, True), (
        "beyond what two pairs alone would say"
    )
    assert statistics.ratio([3.0, 6.0, 9.0], [1.0, 2.0, 3.0]) == Interval(3.0, 3.0, 3.0, 3), (
        "in pairs, what all runs share falls out"
    )


def test_a_difference_is_of_the_same_runs() -> None:
    assert statistics.difference([2.0, 7.0, 4.0], [1.0, 6.0, 3.0]) == Interval(1.0, 1.0, 1.0, 3)


def test_any_estimate_is_drawn_as_the_mean_is() -> None:
    found = statistics.of([1.0, 2.0, 3.0, 4.0, 90.0], lambda drawn: np.median(drawn, axis=1))
    assert found.value == 3.0
    assert (found.low < 1.0, found.high > 90.0) == (True, True)


@pytest.mark.parametrize(
    ("runs", "least", "most"),
    [(2, 0.90, 0.98), (3, 0.91, 0.98), (5, 0.91, 0.98), (10, 0.91, 0.98), (30, 0.92, 0.98)],
)
def test_how_often_the_interval_holds_the_truth(runs: int, least: float, most: float) -> None:
    """Of normal runs, as often as its name says, however few they are."""
    chance = np.random.default_rng(11)
    samples = chance.normal(3.0, 1.0, size=(500, runs))
    found = [statistics.mean(list(sample)) for sample in samples]
    held = np.mean([one.low <= 3.0 <= one.high for one in found])
    assert least <= held <= most


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: statistics.mean([]), "at least one run"),
        (lambda: statistics.mean([1.0, math.nan]), "no numbers"),
        (lambda: statistics.ratio([], []), "the same runs"),
        (lambda: statistics.ratio([1.0], [1.0, 2.0]), "a ratio of 1 runs to 2"),
        (lambda: statistics.ratio([1.0, 1.0], [1.0, 0.0]), "not above 0"),
        (lambda: statistics.ratio([1.0, 1.0], [1.0, math.nan]), "no numbers"),
        (lambda: statistics.ratio([math.inf, 1.0], [1.0, 1.0]), "no numbers"),
        (lambda: statistics.difference([1.0, 2.0], [1.0]), "pairs"),
    ],
)
def test_what_has_no_interval_is_refused(call, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        call()


@pytest.mark.parametrize(
    ("interval", "is_below", "reaches"),
    [
        (Interval(0.6, 0.5, 0.7, 5), Verdict.CONFIRMED, False),
        (Interval(0.9, 0.8, 1.0, 5), Verdict.FALSIFIED, True),
        (Interval(0.7, 0.6, 0.8, 5), Verdict.UNDECIDED, None),
        (Interval(0.8, 0.7, 0.9, 5), Verdict.UNDECIDED, None),
        (Interval(0.1, 0.1, 0.1, 1), Verdict.UNDECIDED, None),
        (Interval(0.9, 0.9, 0.9, 1), Verdict.UNDECIDED, None),
    ],
    ids=["under", "over", "touches", "around", "one run under", "one run over"],
)
def test_a_verdict_is_the_whole_interval_s_and_one_run_decides_nothing(
    interval: Interval, is_below: Verdict, reaches: bool | None
) -> None:
    assert below(interval, 0.8) is is_below
    assert at_least(interval, 0.8) is reaches


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0.123456, "0.123"),
        (-2.0, "-2"),
        (999.4, "999"),
        (999.7, "1000"),
        (1234.5, "1234"),
        (250_000.0, "250000"),
        (0.0, "0"),
    ],
)
def test_a_number_keeps_what_stands_before_its_point(number: float, told: str) -> None:
    assert short(number) == told


def test_an_interval_is_told_with_its_ends() -> None:
    assert Interval(1234.5, 0.51234, 2000.0, 5).shown() == "1234 [0.512, 2000]"
    assert Interval(0.5, 0.4, 0.6, 5).shown(1) == "0.5 [0.4, 0.6]"
