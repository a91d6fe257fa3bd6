"""Regret, by hand."""

import pytest

from coordsvc.solvers.instance import Instance, Schedule
from coordsvc.solvers.regret import (
    band,
    isolated,
    latest,
    makespan,
    regrets,
    totals,
    utilisation,
    variance,
)

# Two agents on one GPU; the second waits for the first one's message in each of two rounds.
CHAIN = Instance(
    edges=((0, 1),),
    releases=(0, 1),
    durations=((2, 2), (3, 1)),
    demands=(1, 1),
    capacity=1,
    messages=1,
)
# 0 works 0-2 and 2-4; 1 works 4-7 and 7-8.
PLAYED = Schedule(
    starts={(0, 0): 0, (0, 1): 2, (1, 0): 4, (1, 1): 7}, sent={(0, 1, 0): 2, (0, 1, 1): 4}
)


def test_alone_a_round_waits_for_its_messages_only() -> None:
    assert isolated(CHAIN) == {(0, 0): 2, (1, 0): 6, (0, 1): 3, (1, 1): 5}


def test_regret_is_how_much_later_than_alone() -> None:
    assert totals(CHAIN, PLAYED) == [0 + 1, 1 + 3]
    assert regrets(CHAIN, PLAYED) == [0.5, 2.0]
    assert variance([0.5, 2.0]) == pytest.approx(0.5625)


def test_utilisation_is_of_the_steps_up_to_the_last_finish() -> None:
    assert makespan(CHAIN, PLAYED) == 8
    assert utilisation(CHAIN, PLAYED) == 1.0


def test_the_last_start_leaves_time_for_all_that_follows_in_the_round() -> None:
    """Round 1 ends at 5 alone: agent 1 starts by 4, the message goes at 3, agent 0 starts by 1."""
    assert latest(CHAIN) == {(0, 0): 0, (1, 0): 3, (0, 1): 1, (1, 1): 4}


def test_the_band_is_of_utilisation_and_makespan_its_inverse() -> None:
    """8 steps: 7.6 at 5 % more utilisation, 8.4 at 5 % less."""
    assert band(CHAIN, PLAYED) == (8, 8)
