"""Bounds on what comes from outside and is kept."""

import pytest

from coordsvc.core.allocation.bounds import (
    check_agent,
    check_attributes,
    check_filter,
    check_name,
    make_room_for_a_role,
)
from coordsvc.core.errors import ProtocolError
from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.messages import DeskLost
from coordsvc.core.roles import Roles
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, DeskId
from tests.unit.core.stories import P1, Story, refusals

TERMS = Terms(
    name_chars_max=8, role_depth_max=2, conditions_max=2, attributes_max=2, attribute_chars_max=4
)


def test_what_is_within_bounds_passes() -> None:
    check_name("12345678", TERMS)
    check_agent(AgentId("acme/x"), TERMS)
    check_filter(ANY_NODE, TERMS)
    check_filter(NodeFilter.requiring({"zone": ("a", "b"), "model": "c"}), TERMS)
    check_attributes({"zone": "1234", "model": ""}, TERMS)


@pytest.mark.parametrize("name", ["", "123456789"])
def test_a_name_has_some_characters_and_not_too_many(name: str) -> None:
    with pytest.raises(ProtocolError, match=f"of {len(name)} characters"):
        check_name(name, TERMS)


@pytest.mark.parametrize("agent", ["a/b/c", "a//b", "/a", "a/"])
def test_an_agents_path_is_not_too_deep_and_has_no_gaps(agent: str) -> None:
    with pytest.raises(ProtocolError, match=r"none of them empty|characters"):
        check_agent(AgentId(agent), TERMS)


@pytest.mark.parametrize(
    "requires",
    [{"a": "x", "b": "x", "c": "x"}, {"a": ("x", "y", "z")}, {"a" * 9: "x"}, {"a": "x" * 9}],
)
def test_a_filter_has_few_conditions_and_short_ones(
    requires: dict[str, str | tuple[str, ...]],
) -> None:
    with pytest.raises(ProtocolError, match="may be"):
        check_filter(NodeFilter.requiring(requires), TERMS)


@pytest.mark.parametrize("said", [{"a": "", "b": "", "c": ""}, {"a" * 9: ""}, {"a": "12345"}])
def test_a_node_does_not_say_too_much_of_itself(said: dict[str, str]) -> None:
    with pytest.raises(ProtocolError, match="may be"):
        check_attributes(said, TERMS)


def test_roles_that_are_gone_make_room_and_those_that_are_here_do_not() -> None:
    roles, terms = Roles(), Terms(roles_max=3)
    agents = [AgentId("a"), AgentId("b")]
    for agent in agents:
        roles.get(agent)
    with pytest.raises(ProtocolError, match="no more may be"):
        make_room_for_a_role(roles, agents, terms)
    make_room_for_a_role(roles, agents[:1], terms)
    assert sorted(roles.known) == ["", "a"]


def test_agents_that_come_and_go_leave_nothing_behind() -> None:
    story = Story(Terms(roles_max=10))
    for n in range(100):
        assert refusals(story.desk(P1, AgentId(f"agent{n}"))) == []
        story.tell(DeskLost(P1))
    assert len(story.allocator.ledger.roles.known) <= 10


def test_filters_do_not_tell_nodes_apart_without_end() -> None:
    story = Story(Terms(filter_names_max=3))
    refused = [
        bool(refusals(story.desk(DeskId(f"d{n}"), where=NodeFilter.requiring({f"x{n}": "y"}))))
        for n in range(5)
    ]
    assert refused == [False, False, False, True, True]
    assert story.allocator.limits_met["filter_names_max"] == 2
    again = story.desk(DeskId("d9"), where=NodeFilter.requiring({"x1": "z"}))
    assert refusals(again) == []
