"""Durations, instants and epochs."""

from coordsvc.core.dialogue import PLANNER
from coordsvc.core.units import (
    SECOND,
    Epoch,
    Instant,
    Micros,
    after,
    of_tenant,
    seconds,
    since,
    tenant_and_agent,
)


def test_a_later_life_of_the_same_run_supersedes() -> None:
    first, second = Epoch("monday", 1), Epoch("monday", 2)
    assert second.supersedes(first)
    assert not first.supersedes(second)
    assert not first.supersedes(first)


def test_lives_of_two_runs_do_not_supersede_each_other() -> None:
    assert not Epoch("tuesday", 9).supersedes(Epoch("monday", 1))
    assert not Epoch("monday", 1).supersedes(Epoch("tuesday", 9))


def test_a_clock_that_steps_back_makes_no_negative_duration() -> None:
    assert since(Instant(10), Instant(4)) == 0
    assert since(Instant(4), Instant(10)) == 6


def test_seconds_become_whole_microseconds() -> None:
    assert seconds(0.25) == 250_000
    assert after(Instant(5), Micros(SECOND)) == 1_000_005


def test_an_agent_of_a_tenant_stands_below_it_in_the_tree_of_roles() -> None:
    assert of_tenant("acme", PLANNER) == "acme/planner"
    assert tenant_and_agent(of_tenant("acme", PLANNER)) == ("acme", PLANNER)
    assert of_tenant("", PLANNER) == PLANNER
    assert tenant_and_agent(PLANNER) == ("", PLANNER)
