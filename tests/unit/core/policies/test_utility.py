"""Greedy on concave utilities (Fox 1966)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.policies import Ended
from coordsvc.core.policies.utilities import PowerUtilities
from coordsvc.core.policies.utility import Utility
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, Instant, Micros
from tests.unit.core.policies.filling import ENDLESS, GPU, Pool, at, claim, view, wait

A, B = AgentId("a"), AgentId("b")


@dataclass
class Slopes:
    """Utilities from a table: the gain of each agent's next bundle."""

    gains: dict[AgentId, list[float]]
    ends: list[Ended] = field(default_factory=list)
    changed: bool = False

    def marginal(self, agent: AgentId, bundles: int) -> float:
        return self.gains[agent][bundles] if bundles < len(self.gains[agent]) else 0.0

    def ended(self, now: Instant, end: Ended) -> None:
        self.ends.append(end)

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        return self.changed


def gpus(count: int) -> Resources:
    return Resources(gpu_milli=count * 1_000)


def pool(utilities: PowerUtilities | Slopes, capacity: Resources) -> Pool:
    return Pool(policy=Utility(utilities=utilities), capacity=capacity)


def test_each_bundle_goes_where_it_gains_most() -> None:
    told = pool(Slopes({A: [9, 4, 1], B: [8, 7, 2]}), gpus(5))
    told.agent("a", wants=ENDLESS)
    told.agent("b", wants=ENDLESS)
    assert told.fill() == ["a", "b", "b", "a", "b"]


def test_with_a_square_root_twice_the_weight_gets_four_times_the_bundles() -> None:
    told = pool(PowerUtilities(weights={A: 2.0}), gpus(50))
    told.agent("a", wants=ENDLESS)
    told.agent("b", wants=ENDLESS)
    told.fill()
    assert told.counts() == {"a": 40, "b": 10}


def test_a_large_gain_with_nobody_waiting_behind_it_holds_up_no_one() -> None:
    told = pool(Slopes({A: [100], B: [1, 1]}), gpus(2))
    told.agent("a")
    told.agent("b", wants=ENDLESS)
    assert told.fill() == ["b", "b"]


def test_equal_gains_go_by_the_longest_wait() -> None:
    told = pool(PowerUtilities(), gpus(4))
    told.agent("a")
    told.agent("b")
    told.agent("silent", wants=1)
    told.phase(3, "a", wait("later", asked=2))
    told.phase(3, "b", wait("earlier", asked=1))
    assert told.fill() == ["earlier", "later", "silent"]


def test_who_holds_is_asked_for_the_gain_of_one_more() -> None:
    told = pool(Slopes({A: [9, 1], B: [5, 5]}), gpus(3))
    told.agent("a", wants=ENDLESS)
    told.agent("b", wants=ENDLESS)
    assert told.fill() == ["a", "b", "b"]
    told.give_back("a")
    assert told.serve() == "a"


def test_the_gain_is_divided_by_the_price_of_the_bundle() -> None:
    """A gains twice as much as B, by a bundle that is four times B's."""
    told = pool(Slopes({A: [2, 2, 2, 2], B: [1, 1, 1, 1]}), gpus(4))
    told.agent("a", gpus(4), wants=ENDLESS)
    told.agent("b", GPU, wants=ENDLESS)
    assert told.fill() == ["b", "b", "b", "b"]


def test_the_price_is_the_largest_part_of_any_one_resource() -> None:
    """Of A's bundle the CPU is dear, of B's the GPU; B's is the cheaper."""
    told = pool(Slopes({A: [1], B: [1]}), Resources(10_000, 10_000))
    told.agent("a", Resources(1_000, 3_000), wants=1)
    told.agent("b", Resources(2_000, 1_000), wants=1)
    assert told.serve() == "b"


def test_the_best_agent_anywhere_is_served_whosever_it_is() -> None:
    rich, poor = AgentId("x/a"), AgentId("y/a")
    told = pool(Slopes({rich: [9, 8, 7], poor: [6, 5], AgentId("z"): [6.5]}), gpus(5))
    told.tenant("x")
    told.tenant("y", weight=99)
    told.agent("x/a", tenant="x", wants=ENDLESS)
    told.agent("y/a", tenant="y", wants=ENDLESS)
    told.agent("z", wants=1)
    assert told.fill() == ["x/a", "x/a", "x/a", "z", "y/a"]


def test_an_agent_that_is_a_tenant_too_is_asked_for_its_own_desks_only() -> None:
    """Agents x and x/a: desks of the one stand beside the other."""
    policy = Utility(utilities=Slopes({AgentId("x"): [5], AgentId("x/a"): [0, 7]}))
    own = policy.desk_key(claim("x-1", head=wait("own")))
    below = policy.desk_key(claim("x/a-1", head=wait("below")))
    gainless = policy.role_key(view("x/a", depth=2), below, GPU, gpus(8))
    gaining = policy.role_key(view("x/a", depth=2, bundles=1), below, GPU, gpus(8))
    idle = policy.desk_key(claim("x-2", issued=3))
    assert gainless is not None
    assert gaining is not None
    assert sorted([idle, own, gainless, gaining]) == [gaining, gainless, own, idle]
    assert policy.role_key(view("x"), gaining, GPU, gpus(8)) == gaining
    assert policy.role_key(view("x"), own, GPU, gpus(8)) != own


def test_what_utilities_learn_from_is_passed_on() -> None:
    slopes = Slopes({A: [1]})
    policy = Utility(utilities=slopes)
    end = Ended(agent=A, bundle=GPU, began=at(1), ended=at(2), compute_us=Micros(3), late=True)
    policy.ended(at(2), end)
    assert slopes.ends == [end]
    assert not policy.refresh(at(3), {A: 1})
    slopes.changed = True
    assert policy.refresh(at(4), {A: 1})


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), -1.0])
def test_a_gain_that_is_no_gain_is_a_bug(gain: float) -> None:
    told = pool(Slopes({A: [gain]}), gpus(1))
    told.agent("a", wants=1)
    with pytest.raises(AssertionError, match="the gain of a is"):
        told.serve()


FALLING = st.lists(st.integers(0, 50), min_size=3, max_size=3).map(
    lambda gains: [float(gain) for gain in sorted(gains, reverse=True)]
)


@given(st.lists(FALLING, min_size=2, max_size=3), st.integers(1, 6))
def test_of_equal_bundles_no_other_split_gains_more(gains: list[list[float]], room: int) -> None:
    """Fox 1966; the twin tries all splits."""
    agents = [AgentId(f"agent{n}") for n in range(len(gains))]
    told = pool(Slopes(dict(zip(agents, gains, strict=True))), gpus(room))
    for agent in agents:
        told.agent(agent, wants=3)
    told.fill()
    counts = list(told.counts().values())
    best = max(
        sum(sum(slopes[:count]) for slopes, count in zip(gains, split, strict=True))
        for split in product(range(4), repeat=len(gains))
        if sum(split) <= room
    )
    assert sum(sum(s[:count]) for s, count in zip(gains, counts, strict=True)) == best
