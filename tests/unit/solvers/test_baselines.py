"""Who goes first under each rule."""

from coordsvc.solvers.baselines import (
    FirstCome,
    Offers,
    OldestRound,
    Planned,
    RoundRobin,
    SlackFirst,
)
from coordsvc.solvers.execute import Scene
from tests.unit.solvers.test_regret import CHAIN, PLAYED


def scene() -> Scene:
    return Scene(instance=CHAIN, now=1, starts={(0, 0): 0}, served={0: 1}, turns=1)


def test_round_robin_serves_whose_turn_is_longest_ago() -> None:
    rule = RoundRobin()
    assert rule.operation(scene(), (1, 1)) < rule.operation(scene(), (0, 0))


def test_offers_go_to_the_smallest_dominant_share() -> None:
    rule = Offers()
    assert rule.operation(scene(), (0, 1)) == (1.0, 1)
    assert rule.operation(scene(), (1, 1)) == (0.0, 1)
    told = scene()
    told.sent[1, 0, 0] = 1
    assert rule.message(told, (1, 0, 1)) == (1.0, 1)


def test_the_oldest_round_goes_first() -> None:
    rule = OldestRound()
    assert rule.operation(scene(), (1, 0)) < rule.operation(scene(), (0, 1))
    assert rule.message(scene(), (0, 1, 0)) < rule.message(scene(), (0, 1, 1))


def test_a_plan_is_followed_in_its_order() -> None:
    rule = Planned(plan=PLAYED)
    assert rule.operation(scene(), (0, 1)) < rule.operation(scene(), (1, 0))
    assert rule.message(scene(), (0, 1, 1)) == (4,)


def test_first_come_goes_by_when_a_thing_could_have_gone() -> None:
    """Round 0's message was sent in step 5 only: round 1 of agent 0 has waited since step 1."""
    told = scene()
    told.sent[0, 1, 0] = 5
    rule = FirstCome()
    assert rule.operation(told, (0, 1)) == (1,)
    assert rule.operation(told, (1, 0)) == (6,)
    assert rule.message(told, (0, 1, 0)) == (2,)


def test_least_slack_goes_first_by_what_was_known_ahead() -> None:
    """Alone, round 0 ends at 6 and round 1 at 5, so agent 1 has to begin by 3 and by 4."""
    rule = SlackFirst(known=CHAIN)
    assert rule.operation(scene(), (1, 0)) == (3 - 1,)
    assert rule.operation(scene(), (1, 1)) == (4 - 1,)
    assert rule.operation(scene(), (0, 0)) == (0 - 1,)
    assert rule.message(scene(), (0, 1, 1)) == (4 - 1 - 1,)
