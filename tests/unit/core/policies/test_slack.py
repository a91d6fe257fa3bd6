"""Least slack first, and the late out of the way."""

from coordsvc.core.policies.slack import Slack
from coordsvc.core.resources import Resources
from tests.unit.core.policies.filling import Pool, at, wait

CAPACITY = Resources(gpu_milli=8_000)


def pool() -> Pool:
    made = Pool(policy=Slack(), capacity=CAPACITY)
    made.agent("planner")
    made.agent("responder")
    return made


def test_who_must_begin_soonest_goes_first_whoever_is_due_first() -> None:
    told = pool()
    told.phase(0, "planner", wait("due at 30, needs 5", deadline=30, rest=5))
    told.phase(0, "responder", wait("due at 40, needs 25", deadline=40, rest=25))
    told.phase(0, "planner", wait("due at 20, needs nothing known", deadline=20))
    assert told.fill() == [
        "due at 40, needs 25",
        "due at 20, needs nothing known",
        "due at 30, needs 5",
    ]


def test_a_turn_that_cannot_make_it_delays_none_that_can() -> None:
    told = pool()
    told.phase(0, "planner", wait("must begin at 10", deadline=30, rest=20))
    told.phase(0, "planner", wait("must begin at 15", deadline=16, rest=1))
    assert not told.policy.refresh(at(10), {})
    assert told.policy.refresh(at(11), {})
    assert told.fill() == ["must begin at 15", "must begin at 10"]


def test_it_is_not_too_late_at_the_latest_start_itself() -> None:
    order = Slack(as_of=at(10))
    assert order.urgency(wait("t", deadline=30, rest=20))[0] == 0
    assert order.urgency(wait("t", deadline=30, rest=20.000_001))[0] == 1


def test_of_those_too_late_the_narrowest_miss_goes_first() -> None:
    told = pool()
    told.policy = Slack(as_of=at(20))
    told.phase(20, "planner", wait("by 15", deadline=25, rest=20))
    told.phase(20, "planner", wait("by 1", deadline=25, rest=6))
    assert told.fill() == ["by 1", "by 15"]


def test_with_equal_slack_the_first_that_asked_goes_first() -> None:
    told = pool()
    told.phase(3, "planner", wait("a", asked=3))
    told.phase(3, "responder", wait("b", asked=2))
    assert told.fill() == ["b", "a"]
