"""A turn on its way through its phases."""

from collections.abc import Sequence

from coordsvc.core.units import AgentId, Instant, Micros, TurnId
from coordsvc.simulation.turns import LiveTurn, Means, rules_of
from coordsvc.simulation.workload import Turn

DIALOGUE = rules_of(checked=True, revisions_max=1)
PAIR = rules_of(checked=False, revisions_max=1)


def live(costs: Sequence[int], rules=DIALOGUE, role=None, **what) -> LiveTurn:
    turn = Turn(
        turn=TurnId("t"),
        arrives=Instant(0),
        costs_us=tuple(map(Micros, costs)),
        deadline_us=Micros(1_000),
        **what,
    )
    begun = LiveTurn(turn, Instant(100), rules, None, role)
    begun.start()
    return begun


def way(turn: LiveTurn) -> list[tuple[str, int]]:
    """Run it to its end: whose work each phase was, and its cost."""
    seen = [(str(turn.agent), int(turn.cost_us))]
    while not turn.phase_done(Instant(500)):
        seen.append((str(turn.agent), int(turn.cost_us)))
    assert turn.ended == 500
    return seen


def test_a_dialogue_plans_answers_and_checks() -> None:
    assert way(live((1, 2, 3))) == [("planner", 1), ("responder", 2), ("checker", 3)]


def test_a_rejected_draft_is_revised_and_checked_again() -> None:
    agents = [agent for agent, _ in way(live((1, 2, 3, 4, 5), rejections=1))]
    assert agents == ["planner", "responder", "checker", "responder", "checker"]


def test_two_agents_do_not_check() -> None:
    assert way(live((1, 2), PAIR)) == [("planner", 1), ("responder", 2)]


def test_a_turn_of_a_role_has_one_phase_and_a_tenants_has_its_own_agents() -> None:
    roles = (AgentId("role1"), AgentId("role2"))
    assert way(live((7,), role=roles[1], roles=roles)) == [("role2", 7)]
    assert way(live((1, 2), PAIR, tenant="acme"))[0] == ("acme/planner", 1)


def test_a_desk_that_knows_costs_tells_them() -> None:
    turn = live((10, 20, 30))
    wait = turn.wait(Instant(150), None)
    assert (wait.asked, wait.arrived, wait.deadline) == (150, 100, 1_100)
    assert (wait.cost_us, wait.rest_us, wait.attained_us) == (10, 60, 0)
    turn.attained_us = 10
    turn.phase_done(Instant(160))
    wait = turn.wait(Instant(160), None)
    assert (wait.cost_us, wait.rest_us, wait.attained_us) == (20, 50, 10)


def test_a_desk_that_does_not_goes_by_the_mean_of_what_it_has_seen() -> None:
    means = Means()
    turn = live((10, 20, 30))
    assert (turn.wait(Instant(0), means).cost_us, turn.wait(Instant(0), means).rest_us) == (0, 0)
    for agent, cost in (("planner", 4), ("planner", 8), ("responder", 100), ("checker", 50)):
        means.add(AgentId(agent), cost)
    wait = turn.wait(Instant(0), means)
    assert (wait.cost_us, wait.rest_us) == (6, 156)


def test_means_are_whole_numbers_and_0_of_whom_nothing_is_known() -> None:
    means = Means()
    means.add(AgentId("a"), 3)
    means.add(AgentId("a"), 4)
    assert (means.of(AgentId("a")), means.of(AgentId("b"))) == (3, 0)
