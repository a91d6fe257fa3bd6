"""Dominant resource fairness, weighted and in a tree (NSDI 2011, sections 4.1 and 4.3)."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.resources import Resources
from tests.unit.core.policies.filling import ENDLESS, GPU, Pool, wait

PAPER = Resources(cpu_milli=9_000, bandwidth_mbps=18_000)
A = Resources(cpu_milli=1_000, bandwidth_mbps=4_000)
B = Resources(cpu_milli=3_000, bandwidth_mbps=1_000)


def pool(capacity: Resources, demands: Mapping[str, Resources], weights: Mapping[str, int]) -> Pool:
    """Return a pool of which every agent wants more than there is."""
    filled = Pool(policy=FairShare(), capacity=capacity)
    for agent, bundle in demands.items():
        filled.agent(agent, bundle, weight=weights.get(agent, 1), wants=ENDLESS)
    return filled


def gpus(count: int) -> Resources:
    return Resources(gpu_milli=count * 1_000)


def test_the_papers_example_gives_three_tasks_and_two() -> None:
    """9 CPUs and 18 GB; A's tasks take 1 CPU and 4 GB, B's take 3 CPUs and 1 GB."""
    # a: 2/9 | b: 3/9 | a: 4/9 | b: 6/9 | a: 6/9, and the CPUs are all given out
    assert pool(PAPER, {"a": A, "b": B}, {}).fill() == ["a", "b", "a", "b", "a"]


def test_the_order_of_joining_does_not_matter() -> None:
    forth, back = pool(PAPER, {"a": A, "b": B}, {}), pool(PAPER, {"b": B, "a": A}, {})
    assert forth.fill() == back.fill()


def test_a_weight_of_two_is_a_right_to_twice_the_share() -> None:
    filled = pool(gpus(9), {"a": GPU, "b": GPU}, {"b": 2})
    assert filled.fill()[:6] == ["a", "b", "b", "a", "b", "b"]
    assert filled.counts() == {"a": 3, "b": 6}


def test_ties_break_by_name() -> None:
    assert pool(gpus(2), {"z": GPU, "b": GPU, "a": GPU}, {}).fill() == ["a", "b"]


def test_who_gave_back_is_served_again() -> None:
    filled = pool(gpus(4), {"a": GPU, "b": GPU}, {})
    assert filled.fill() == ["a", "b", "a", "b"]
    filled.give_back("b")
    assert filled.serve() == "b"


def test_how_long_a_phase_waits_is_nothing_to_a_share() -> None:
    filled = pool(gpus(9), {"a": GPU, "b": GPU}, {})
    filled.serve()
    filled.phase(0, "a", wait("waits for ever", asked=0))
    filled.phase(9, "b", wait("has just come", asked=9))
    assert filled.serve() == "has just come"


def test_a_tenant_of_many_agents_has_no_more_than_a_tenant_of_one() -> None:
    filled = Pool(policy=FairShare(), capacity=gpus(12))
    filled.tenant("many")
    filled.tenant("one")
    for agent in ("many/planner", "many/responder", "many/checker"):
        filled.agent(agent, tenant="many", wants=ENDLESS)
    filled.agent("one/planner", tenant="one", wants=ENDLESS)
    filled.fill()
    assert filled.counts() == {
        "many/planner": 2,
        "many/responder": 2,
        "many/checker": 2,
        "one/planner": 6,
    }


def test_weights_count_among_siblings_only() -> None:
    filled = Pool(policy=FairShare(), capacity=gpus(12))
    filled.tenant("x", weight=3)
    filled.tenant("y")
    filled.agent("x/a", tenant="x", weight=2, wants=ENDLESS)
    filled.agent("x/b", tenant="x", wants=ENDLESS)
    filled.agent("y/a", tenant="y", weight=99, wants=ENDLESS)
    filled.fill()
    # x to y as 3 to 1; in x, a to b as 2 to 1
    assert filled.counts() == {"x/a": 6, "x/b": 3, "y/a": 3}


def test_what_one_agent_leaves_stays_in_its_tenant_first() -> None:
    filled = Pool(policy=FairShare(), capacity=gpus(12))
    filled.tenant("x")
    filled.tenant("y")
    filled.agent("x/a", tenant="x", wants=1)
    filled.agent("x/b", tenant="x", wants=ENDLESS)
    filled.agent("y/a", tenant="y", wants=ENDLESS)
    filled.fill()
    assert filled.counts() == {"x/a": 1, "x/b": 5, "y/a": 6}


def test_what_a_tenant_leaves_goes_to_the_others() -> None:
    filled = Pool(policy=FairShare(), capacity=gpus(12))
    for tenant, wants in (("x", 2), ("y", ENDLESS), ("z", ENDLESS)):
        filled.tenant(tenant)
        filled.agent(f"{tenant}/a", tenant=tenant, wants=wants)
    filled.fill()
    assert filled.counts() == {"x/a": 2, "y/a": 5, "z/a": 5}


def test_a_tenants_dominant_resource_is_that_of_all_its_agents_together() -> None:
    """Two agents of x, one heavy on CPU and one on bandwidth, against one of y."""
    filled = Pool(policy=FairShare(), capacity=Resources(cpu_milli=10, bandwidth_mbps=10))
    filled.tenant("x")
    filled.tenant("y")
    filled.agent("x/cpu", Resources(cpu_milli=1), tenant="x", wants=ENDLESS)
    filled.agent("x/net", Resources(bandwidth_mbps=1), tenant="x", wants=ENDLESS)
    filled.agent("y/both", Resources(cpu_milli=1, bandwidth_mbps=1), tenant="y", wants=ENDLESS)
    filled.fill()
    # x holds 5/10 of each, and that is a share of 5/10, not of 10/10
    assert filled.counts() == {"x/cpu": 5, "x/net": 5, "y/both": 5}


@given(st.integers(1, 5), st.integers(1, 40))
def test_equal_demands_end_at_most_one_bundle_apart(agents: int, room: int) -> None:
    filled = pool(gpus(room), {f"agent{n}": GPU for n in range(agents)}, {})
    filled.fill()
    counts = filled.counts().values()
    assert sum(counts) == room
    assert max(counts) - min(counts) <= 1
