"""Tenants in the settings: the tree of roles that they make, and what makes no sense."""

from typing import Any

import pytest

from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.units import RoleId
from coordsvc.settings import SettingsError, check

KEYS = {"file": "/etc/coordsvc/keys.yaml"}


def settings(**tenants: Any) -> dict[str, Any]:
    return {"keys": KEYS, "tenants": tenants}


def test_without_tenants_the_agents_are_the_roles() -> None:
    assert set(check({}).terms().roles) == {PLANNER, RESPONDER, CHECKER}


def test_a_tenant_stands_above_its_own_agents() -> None:
    given = settings(
        research={"weight": 3, "guarantee": {"cpu": 4}, "limit": {"cpu": 8, "bandwidth_gbps": 8}}
    )
    given["agents"] = {"planner": {"weight": 2, "guarantee": {"cpu": 1}}}
    roles = check(given).terms().roles
    four = Resources(cpu_milli=4_000)
    eight = Resources(cpu_milli=8_000, bandwidth_mbps=8_000)
    assert roles[RoleId("research")] == RoleTerms(weight=3, guarantee=four, limit=eight)
    assert roles[RoleId("research/planner")] == RoleTerms(weight=2)
    assert roles[RoleId("planner")].guarantee == Resources(cpu_milli=1_000)


def test_tenants_can_be_named_where_agents_can() -> None:
    given = settings(research={}, sales={})
    given["node"] = {"reserved": {"research": {"cpu": 2}, "sales/planner": {"cpu": 1}}}
    given["offers"] = {"policy": {"name": "static_partition", "partition": {"research": 1}}}
    assert check(given).node.reserved.keys() == {"research", "sales/planner"}
    given["node"] = {"reserved": {"marketing": {"cpu": 2}}}
    with pytest.raises(SettingsError, match="'marketing', which is no agent and no tenant"):
        check(given)


def test_a_tenants_agents_weigh_in_utilities_what_agents_do_unless_it_is_said() -> None:
    given = settings(research={}, sales={})
    weights = {"planner": 2.0, "sales/planner": 5.0}
    given["offers"] = {"policy": {"name": "utility", "utility_weights": weights}}
    assert check(given).terms().policy.utility_weights == {
        **weights,
        "research/planner": 2.0,
    }


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"tenants": {"research": {}}}, "told apart by their keys.*set keys.file"),
        (settings(planner={}), "tenants.planner has the name of an agent"),
        (settings(**{"A B": {}}), "tenants.A B.*should match"),
        (settings(research={"weight": 0}), "greater than or equal to 1"),
        (settings(research={"weigth": 2}), "did you mean `weight`"),
        (
            settings(research={"guarantee": {"cpu": 4}, "limit": {"cpu": 2}}),
            "tenants.research.guarantee .* is more than its limit",
        ),
        (
            settings(research={"limit": {"cpu": 0.5, "bandwidth_gbps": 9}}),
            "tenants.research.limit .* is less than one phase of its planner takes",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        check(given)
