"""Dominant resource fairness, told by what the allocator sends out (NSDI 2011, section 4.1)."""

from collections import Counter
from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.allocator import Allocator, Terms
from coordsvc.core.messages import DeskJoined, Effect, NodeJoined, SendOffer, Wanted
from coordsvc.core.policies import Claim
from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, NodeId

NOW = Instant(0)
PAPER = Resources(cpu_milli=9_000, bandwidth_mbps=18_000)
A = Resources(cpu_milli=1_000, bandwidth_mbps=4_000)
B = Resources(cpu_milli=3_000, bandwidth_mbps=1_000)


def offered_to(effects: Iterable[Effect]) -> list[str]:
    return [effect.offer.agent for effect in effects if isinstance(effect, SendOffer)]


def fill(
    capacity: Resources, demands: Mapping[str, Resources], weights: Mapping[AgentId, int]
) -> list[str]:
    """Have every agent want more than there is, then add the node; return who gets what."""
    allocator = Allocator(epoch=Epoch("paper", 1), terms=Terms(weights=weights))
    for agent, bundle in demands.items():
        allocator.handle(NOW, DeskJoined(DeskId(f"{agent}-1"), AgentId(agent), bundle))
        allocator.handle(NOW, Wanted(DeskId(f"{agent}-1"), waiting=99, ahead=0))
    return offered_to(allocator.handle(NOW, NodeJoined(NodeId("n1"), capacity)))


def test_the_papers_example_gives_three_tasks_and_two() -> None:
    """9 CPUs and 18 GB; A's tasks take 1 CPU and 4 GB, B's take 3 CPUs and 1 GB."""
    order = fill(PAPER, {"a": A, "b": B}, {})
    # a: 2/9 | b: 3/9 | a: 4/9 | b: 6/9 | a: 6/9, and the CPUs are all given out
    assert order == ["a", "b", "a", "b", "a"]


def test_the_order_of_joining_does_not_matter() -> None:
    assert fill(PAPER, {"b": B, "a": A}, {}) == fill(PAPER, {"a": A, "b": B}, {})


def test_a_weight_of_two_is_a_right_to_twice_the_share() -> None:
    one = Resources(gpu_milli=1_000)
    order = fill(Resources(gpu_milli=9_000), {"a": one, "b": one}, {AgentId("b"): 2})
    assert Counter(order) == {"a": 3, "b": 6}
    assert order[:6] == ["a", "b", "b", "a", "b", "b"]


def test_ties_break_by_name() -> None:
    one = Resources(gpu_milli=1_000)
    assert fill(Resources(gpu_milli=2_000), {"z": one, "b": one, "a": one}, {}) == ["a", "b"]


def claim(desk: str, *, held: Resources, waiting: int, issued: int = 0) -> Claim:
    return Claim(
        desk=DeskId(desk),
        agent=AgentId(desk[0]),
        weight=1,
        held=held,
        bundle=A,
        issued=issued,
        waiting=waiting,
    )


def test_a_waiting_phase_goes_before_anything_held_ahead() -> None:
    poor_but_idle = claim("a1", held=Resources(), waiting=0)
    rich_but_waiting = claim("b1", held=B + B, waiting=1)
    assert FairShare().choose((poor_but_idle, rich_but_waiting), PAPER) == rich_but_waiting


def test_of_two_desks_of_one_agent_the_emptier_is_served() -> None:
    full, empty = claim("a1", held=A, waiting=1, issued=1), claim("a2", held=A, waiting=1)
    assert FairShare().choose((full, empty), PAPER) == empty


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 40))
def test_equal_demands_end_at_most_one_bundle_apart(sizes: list[int], room: int) -> None:
    """Progressive filling: with the same bundle for all, nobody gets two more than another."""
    demands = {f"agent{i}": Resources(gpu_milli=1_000) for i, _ in enumerate(sizes)}
    got = Counter(fill(Resources(gpu_milli=room * 1_000), demands, {}))
    counts = [got[agent] for agent in demands]
    assert sum(counts) == room
    assert max(counts) - min(counts) <= 1


@given(st.permutations([claim(name, held=A, waiting=1) for name in ("a1", "a2", "b1", "c1")]))
def test_the_choice_does_not_depend_on_the_order_of_the_claims(claims: list[Claim]) -> None:
    assert FairShare().choose(claims, PAPER).desk == "a1"
