"""D, planned and executed."""

import pytest

from coordsvc.solvers.baselines import OldestRound
from coordsvc.solvers.compare import disturbed, executed_variance, gain, planned_gain
from coordsvc.solvers.execute import execute
from coordsvc.solvers.regret import regrets, variance
from tests.unit.solvers.test_regret import CHAIN, PLAYED


def test_half_the_variance_is_a_gain_of_a_half_and_more_is_a_loss() -> None:
    assert gain(1.0, 2.0) == 0.5
    assert gain(3.0, 2.0) == -0.5


def test_where_there_was_no_variance_there_is_no_gain() -> None:
    assert gain(0.0, 0.009) is None


def test_a_schedule_gains_nothing_over_itself() -> None:
    assert planned_gain(CHAIN, PLAYED, PLAYED) == 0


def test_what_comes_repeats_for_a_seed_and_changes_durations_only() -> None:
    came = disturbed(CHAIN, 5, 8)
    assert came == disturbed(CHAIN, 5, 8)
    assert came != disturbed(CHAIN, 6, 8)
    assert len({each.durations for each in came}) > 1
    assert {each.releases for each in came} == {CHAIN.releases}


def test_the_executed_variance_is_the_mean_over_what_came() -> None:
    came = disturbed(CHAIN, 5, 2)
    each = [variance(regrets(one, execute(one, OldestRound()))) for one in came]
    assert executed_variance(came, OldestRound()) == pytest.approx(sum(each) / 2)
