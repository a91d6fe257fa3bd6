"""What phases cost, as far as anybody knows."""

from coordsvc.core.costs import NEWS, PhaseCosts
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase, Rules
from coordsvc.core.units import Micros

TWO = Rules(agents=frozenset({PLANNER, RESPONDER}))
THREE = Rules(agents=frozenset({PLANNER, RESPONDER, CHECKER}))


def known() -> PhaseCosts:
    costs = PhaseCosts()
    for phase, cost in ((Phase.PLAN, 100), (Phase.RESPOND, 40), (Phase.CHECK, 8)):
        costs.took(phase, Micros(cost))
    return costs


def test_nothing_is_expected_before_the_first_phase() -> None:
    assert PhaseCosts().of(Phase.PLAN) == 0
    assert PhaseCosts().rest(Phase.PLAN, THREE) == 0


def test_the_first_cost_is_believed_and_later_ones_count_by_and_by() -> None:
    costs = PhaseCosts()
    costs.took(Phase.PLAN, Micros(800))
    assert costs.of(Phase.PLAN) == 800
    costs.took(Phase.PLAN, Micros(0))
    assert costs.of(Phase.PLAN) == 800 - 800 // NEWS


def test_the_rest_of_a_turn_is_what_usually_follows() -> None:
    assert known().rest(Phase.PLAN, THREE) == 148
    assert known().rest(Phase.RESPOND, THREE) == 48
    assert known().rest(Phase.CHECK, THREE) == 8


def test_where_nobody_checks_no_check_is_expected() -> None:
    assert known().rest(Phase.PLAN, TWO) == 140


def test_a_revision_is_checked_again() -> None:
    costs = known()
    costs.took(Phase.REVISE, Micros(30))
    assert costs.rest(Phase.REVISE, THREE) == 38
