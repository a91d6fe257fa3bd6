"""Phases in the order of a plan that was made ahead."""

from coordsvc.core.policies.planned import Planned
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId
from tests.unit.core.policies.filling import Pool, at, wait

ONE = Resources(gpu_milli=1_000)
PLANNER, RESPONDER = AgentId("planner"), AgentId("responder")
SECOND_PLANS_FIRST = ((1, PLANNER), (0, PLANNER), (0, RESPONDER), (1, RESPONDER))


def pool(*order: tuple[int, AgentId], turns_max: int = 100) -> Pool:
    made = Pool(
        policy=Planned(order=order, turns_max=turns_max), capacity=Resources(gpu_milli=9_000)
    )
    made.agent("planner")
    made.agent("responder")
    return made


def test_in_a_block_the_plan_says_who_is_first_whoever_asked_first() -> None:
    waiting = pool(*SECOND_PLANS_FIRST)
    waiting.phase(0, "planner", wait("first", asked=0))
    waiting.phase(1, "planner", wait("second", asked=1))
    assert waiting.fill() == ["second", "first"]


def test_a_later_phase_has_its_turns_number_and_its_own_agents_place() -> None:
    waiting = pool(*SECOND_PLANS_FIRST)
    waiting.phase(0, "planner", wait("first"))
    waiting.phase(1, "planner", wait("second"))
    assert waiting.fill() == ["second", "first"]
    waiting.phase(2, "responder", wait("second", asked=2))
    waiting.phase(3, "responder", wait("first", asked=3))
    assert waiting.fill() == ["second", "first", "first", "second"]


def test_who_belongs_to_an_earlier_block_goes_before_all_of_a_later_one() -> None:
    waiting = pool((0, PLANNER), (0, RESPONDER))
    waiting.phase(0, "planner", wait("first"))
    assert waiting.fill() == ["first"]
    waiting.phase(1, "planner", wait("second", asked=1))
    waiting.phase(2, "responder", wait("first", asked=2))
    assert waiting.fill() == ["first", "first", "second"]


def test_an_agent_that_the_plan_does_not_name_comes_last_in_its_block() -> None:
    waiting = pool((0, PLANNER), (1, PLANNER), (2, PLANNER))
    waiting.phase(0, "responder", wait("first"))
    waiting.phase(1, "planner", wait("second"))
    waiting.phase(2, "planner", wait("third"))
    waiting.phase(3, "planner", wait("of the next block"))
    assert waiting.fill() == ["second", "third", "first", "of the next block"]


def test_a_tenants_agent_has_the_place_of_the_agent() -> None:
    order = Planned(order=SECOND_PLANS_FIRST)
    for turn in ("first", "second"):
        order.arrived(at(0), AgentId(f"tenant/{PLANNER}"), wait(turn), ONE)
    assert order.urgency(wait("second")) < order.urgency(wait("first"))


def test_a_turn_that_was_forgotten_goes_first_and_no_more_are_kept_than_allowed() -> None:
    waiting = pool(*SECOND_PLANS_FIRST, turns_max=2)
    for n in range(4):
        waiting.phase(n, "planner", wait(f"turn {n}", asked=n))
    assert waiting.fill() == ["turn 0", "turn 1", "turn 3", "turn 2"]
    order = waiting.policy
    assert isinstance(order, Planned)
    assert len(order.numbers) == len(order.agents) == 2
