"""Bounds on names and filters that come from outside: what is kept must not grow without end."""

from collections.abc import Iterable, Mapping

from coordsvc.core.errors import ProtocolError
from coordsvc.core.filters import NodeFilter
from coordsvc.core.roles import Roles
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId


def check_name(name: str, terms: Terms) -> None:
    """Raise `ProtocolError` if the name is empty, or longer than may be."""
    if not 0 < len(name) <= terms.name_chars_max:
        raise ProtocolError(
            f"a name of {len(name)} characters ({name[:16]!r}); 1 to {terms.name_chars_max} may be"
        )


def check_agent(agent: AgentId, terms: Terms) -> None:
    """Raise `ProtocolError` if the agent's path is too long, too deep, or has an empty step."""
    check_name(agent, terms)
    steps = agent.split("/")
    if len(steps) > terms.role_depth_max or not all(steps):
        raise ProtocolError(
            f"{agent[:64]!r} is a path of {len(steps)} steps; 1 to {terms.role_depth_max} may be, "
            "none of them empty"
        )


def check_filter(where: NodeFilter, terms: Terms) -> None:
    """Raise `ProtocolError` if a filter has too many conditions, or one of them is too large."""
    most = terms.conditions_max
    if len(where.conditions) > most:
        raise ProtocolError(f"{len(where.conditions)} conditions on nodes; at most {most} may be")
    for condition in where.conditions:
        if len(condition.one_of) > most:
            raise ProtocolError(
                f"{len(condition.one_of)} values of one attribute; at most {most} may be"
            )
        for text in (condition.name, *condition.one_of):
            check_name(text, terms)


def check_attributes(attributes: Mapping[str, str], terms: Terms) -> None:
    """Raise `ProtocolError` if a node says too much of itself."""
    if len(attributes) > terms.attributes_max:
        raise ProtocolError(f"{len(attributes)} attributes; at most {terms.attributes_max} may be")
    for name, value in attributes.items():
        check_name(name, terms)
        if len(value) > terms.attribute_chars_max:
            raise ProtocolError(
                f"{name} is of {len(value)} characters; at most {terms.attribute_chars_max} may be"
            )


def make_room_for_a_role(roles: Roles, agents: Iterable[AgentId], terms: Terms) -> None:
    """Forget roles that are gone, if there are too many; raise if `agents` alone are too many."""
    if len(roles.known) < terms.roles_max:
        return
    roles.forget_all_but(agents)
    if len(roles.known) >= terms.roles_max:
        raise ProtocolError(f"{len(roles.known)} agents and tenants are here; no more may be")
