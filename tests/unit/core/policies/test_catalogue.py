"""The policies by name, and what they have in common."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.policies import Policy
from coordsvc.core.policies.attained_service import AttainedService
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms, make
from coordsvc.core.policies.static_partition import StaticPartition
from coordsvc.core.policies.utilities import PowerUtilities
from coordsvc.core.policies.utility import Utility
from coordsvc.core.policies.virtual_finish import VirtualFinish
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, Micros, RoleId
from tests.unit.core.policies.filling import Pool, at, wait

CAPACITY = Resources(gpu_milli=9_000)
PLAN = ((0, AgentId("planner")), (1, AgentId("planner")), (0, AgentId("responder")))
PARTS = {RoleId("planner"): 1, RoleId("responder"): 2}


def every() -> list[Policy]:
    return [make(PolicyTerms(name=name, partition=PARTS, plan=PLAN)) for name in NAMES]


def test_these_are_the_policies() -> None:
    assert NAMES == (
        "fair_share",
        "utility",
        "oldest_first",
        "attained_service",
        "slack",
        "virtual_finish",
        "planned",
        "round_robin",
        "first_come",
        "static_partition",
    )
    names = [type(policy).__name__.lower() for policy in every()]
    assert names == [name.replace("_", "") for name in NAMES]


def test_who_says_nothing_gets_fair_sharing() -> None:
    assert PolicyTerms().name == "fair_share"


def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no policy 'fifo'; there are fair_share, utility, .*"):
        make(PolicyTerms(name="fifo"))


def test_what_is_told_reaches_the_policy() -> None:
    planner = AgentId("planner")
    terms = PolicyTerms(
        name="attained_service",
        queues=3,
        first_queue_us=Micros(SECOND),
        queue_growth=4,
        starved_at=7,
    )
    queued = make(terms)
    assert isinstance(queued, AttainedService)
    assert queued.ends == (SECOND, 4 * SECOND)
    assert queued.beta == 7

    tagged = make(
        PolicyTerms(
            name="virtual_finish",
            turn_weights={planner: 3},
            turn_unknown_us=Micros(9),
            turns_max=5,
        )
    )
    assert tagged == VirtualFinish(weights={planner: 3}, unknown_us=Micros(9), turns_max=5)

    walled = make(PolicyTerms(name="static_partition", partition=PARTS))
    assert walled == StaticPartition(shares=PARTS)

    greedy = make(PolicyTerms(name="utility", utility_weights={planner: 2.0}, utility_alpha=0.25))
    assert greedy == Utility(utilities=PowerUtilities(weights={planner: 2.0}, alpha=0.25))


def test_learned_utilities_take_the_place_of_those_set_by_hand() -> None:
    learned = PowerUtilities(alpha=0.9)
    greedy = make(PolicyTerms(name="utility"), learned)
    assert isinstance(greedy, Utility)
    assert greedy.utilities is learned


WRONG = [
    (PolicyTerms(name="attained_service", queues=0), "queues is 0; it is at least 1"),
    (PolicyTerms(name="attained_service", first_queue_us=Micros(0)), "first_queue_us is 0"),
    (PolicyTerms(name="attained_service", queue_growth=1), "queue_growth is 1; it is at least 2"),
    (PolicyTerms(name="attained_service", starved_at=0), "starved_at is 0"),
    (PolicyTerms(name="virtual_finish", turn_weights={AgentId("a"): 0}), "turn_weights of a is 0"),
    (PolicyTerms(name="virtual_finish", turn_unknown_us=Micros(0)), "turn_unknown_us is 0"),
    (PolicyTerms(name="virtual_finish", turns_max=0), "turns_max is 0"),
    (PolicyTerms(name="planned"), "planned needs a plan: `coordsvc schedule` makes one"),
    (PolicyTerms(name="planned", plan=(PLAN[0], PLAN[0])), "plan names planner of turn 0 twice"),
    (PolicyTerms(name="planned", plan=PLAN[1:2]), "plan is of turns 1; they are counted from 0"),
    (PolicyTerms(name="planned", plan=PLAN, turns_max=0), "turns_max is 0"),
    (PolicyTerms(name="static_partition"), "a share above 0 for at least one role"),
    (PolicyTerms(name="static_partition", partition={RoleId("a"): -1}), "partition of a is -1"),
    (PolicyTerms(name="utility", utility_alpha=1.01), "utility_alpha is 1.01; it is from 0 to 1"),
    (PolicyTerms(name="utility", utility_alpha=float("nan")), "utility_alpha is nan"),
    (
        PolicyTerms(name="utility", utility_weights={AgentId("a"): float("inf")}),
        "utility_weights of a is inf",
    ),
]


@pytest.mark.parametrize(("terms", "said"), WRONG)
def test_a_parameter_out_of_range_is_refused_by_name(terms: PolicyTerms, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(terms)


# --- what they have in common

STORIES = st.lists(
    st.tuples(
        st.sampled_from(["planner", "responder"]),
        st.integers(0, 5),  # turn
        st.integers(0, 3),  # seconds since the event before
        st.integers(0, 9),  # attained
        st.integers(0, 9),  # rest
    ),
    max_size=12,
)


def play(policy: Policy, story: list[tuple[str, int, int, int, int]]) -> list[str]:
    pool = Pool(policy=policy, capacity=CAPACITY)
    pool.agent("planner", wants=1)
    pool.agent("responder", wants=1)
    now = 0
    for agent, turn, gap, attained, rest in story:
        now += gap
        told = wait(
            f"turn {turn}",
            asked=now,
            arrived=turn,
            deadline=turn + 8,
            attained=attained,
            rest=rest,
        )
        pool.phase(now, agent, told)
        policy.refresh(at(now), {})
        pool.serve()
    return pool.fill()


@given(STORIES)
def test_the_same_history_gives_the_same_order(
    story: list[tuple[str, int, int, int, int]],
) -> None:
    for policy, again in zip(every(), every(), strict=True):
        assert play(policy, story) == play(again, story)


@given(STORIES)
def test_all_that_a_policy_remembers_can_be_written_down_and_read_back(
    story: list[tuple[str, int, int, int, int]],
) -> None:
    for policy in every():
        play(policy, story)
        remembered = {name: value for name, value in vars(policy).items() if name != "utilities"}
        assert json.loads(json.dumps(remembered)) == in_lists(remembered)


def in_lists(value: Any) -> Any:
    """Return the same with lists for tuples, which is all that JSON may change."""
    match value:
        case dict():
            return {key: in_lists(part) for key, part in value.items()}
        case list() | tuple():
            return [in_lists(part) for part in value]
        case _:
            return value


@given(STORIES)
def test_every_policy_but_walls_uses_all_that_anyone_wants(
    story: list[tuple[str, int, int, int, int]],
) -> None:
    wanted = min(9, len(story) + 2)
    for name, policy in zip(NAMES, every(), strict=True):
        if name != "static_partition":
            assert len(play(policy, story)) == wanted
