"""What is asked, as values."""

from coordsvc.core.dialogue import PLANNER
from coordsvc.core.units import Instant, Micros, TurnId
from coordsvc.simulation.workload import Turn, Workload


def turn(name: str, tenant: str = "") -> Turn:
    costs = (Micros(3), Micros(4))
    return Turn(
        turn=TurnId(name),
        arrives=Instant(0),
        costs_us=costs,
        deadline_us=Micros(9),
        tenant=tenant,
    )


def test_a_turn_costs_what_its_phases_cost() -> None:
    assert turn("t").cost_us == 7


def test_a_tenant_alone_has_its_own_turns_and_no_others() -> None:
    turns = (turn("a", "acme"), turn("b", "bolt"), turn("c", "acme"))
    workload = Workload(turns=turns, agents=(PLANNER,))
    assert [one.turn for one in workload.only("acme").turns] == ["a", "c"]
    assert workload.only("acme").agents == (PLANNER,)
