"""The four properties of dominant resource fairness, against a slow exact twin.

NSDI 2011, section 3: sharing incentive, strategy-proofness, envy-freeness, Pareto efficiency. They
hold exactly where tasks can be divided without end, as in the twin. Bundles are whole; so here they
are small, hundreds to the pool, and each test says by how many bundles its property may be missed
and why. Pareto efficiency is never missed.
"""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.policies.static_partition import StaticPartition
from coordsvc.core.resources import Resources
from coordsvc.core.units import RoleId
from tests.unit.core.policies.filling import ENDLESS, Pool

Vector = tuple[int, int, int]

CAPACITIES = st.tuples(*[st.integers(1_000, 1_500)] * 3)
SOME = st.tuples(*[st.integers(0, 4)] * 3).filter(any)
"""Bundles that may lack a resource: those who do rise on when it has run dry."""
ALL = st.tuples(*[st.integers(1, 4)] * 3)
"""Bundles of every resource: when one runs dry, all have what they will have."""
STORIES = st.lists(SOME, min_size=2, max_size=4)
STORIES_OF_ALL = st.lists(ALL, min_size=2, max_size=4)


# --- the twin: water rises in all at once; who needs what has run dry stays where it is


def level(demands: list[Vector], capacity: Vector) -> list[Fraction]:
    """Return each one's tasks, divided without end."""
    per_share = [_amounts_per_share(demand, capacity) for demand in demands]
    shares = [Fraction(0)] * len(demands)
    free = [Fraction(amount) for amount in capacity]
    rising = set(range(len(demands)))
    while rising:
        drain = [sum((per_share[n][r] for n in rising), Fraction(0)) for r in range(3)]
        step = min(free[r] / drain[r] for r in range(3) if drain[r])
        free = [free[r] - step * drain[r] for r in range(3)]
        for n in rising:
            shares[n] += step
        rising = {n for n in rising if all(free[r] for r in range(3) if demands[n][r])}
    return [s / _share_of_one(d, capacity) for s, d in zip(shares, demands, strict=True)]


def _share_of_one(demand: Vector, capacity: Vector) -> Fraction:
    return max(Fraction(part, whole) for part, whole in zip(demand, capacity, strict=True))


def _amounts_per_share(demand: Vector, capacity: Vector) -> list[Fraction]:
    return [amount / _share_of_one(demand, capacity) for amount in demand]


# --- the policy


def filled(demands: list[Vector], capacity: Vector) -> list[int]:
    """Return how many bundles each one holds in the end."""
    pool = Pool(policy=FairShare(), capacity=Resources(*capacity))
    for n, demand in enumerate(demands):
        pool.agent(f"agent{n}", Resources(*demand), wants=ENDLESS)
    pool.fill()
    return list(pool.counts().values())


def tasks_in(amounts: list[Fraction] | list[int], demand: Vector) -> Fraction:
    """Return how many tasks of `demand` could run in `amounts`, divided without end."""
    return min(Fraction(have) / want for have, want in zip(amounts, demand, strict=True) if want)


def largest(*demands: Vector, capacity: Vector) -> Fraction:
    """Return the share of the largest bundle."""
    return max(_share_of_one(demand, capacity) for demand in demands)


def times(demand: Vector, tasks: Fraction | int) -> list[Fraction]:
    return [Fraction(amount) * tasks for amount in demand]


@given(STORIES_OF_ALL, CAPACITIES)
@settings(max_examples=60)
def test_nobody_has_less_than_in_the_exact_twin(demands: list[Vector], capacity: Vector) -> None:
    """One bundle for who was served just before, one that no longer fitted, and roundings."""
    slack = 3 * largest(*demands, capacity=capacity)
    got, exact = filled(demands, capacity), level(demands, capacity)
    for n, demand in enumerate(demands):
        assert (exact[n] - got[n]) * _share_of_one(demand, capacity) <= slack


@given(STORIES, CAPACITIES)
@settings(max_examples=60)
def test_sharing_is_no_worse_than_an_equal_part_of_ones_own(
    demands: list[Vector], capacity: Vector
) -> None:
    """Until a first bundle does not fit all rise together: the same two bundles."""
    slack = 2 * largest(*demands, capacity=capacity)
    got, exact = filled(demands, capacity), level(demands, capacity)
    for n, demand in enumerate(demands):
        own = tasks_in([Fraction(amount, len(demands)) for amount in capacity], demand)
        assert exact[n] >= own
        assert (own - got[n]) * _share_of_one(demand, capacity) <= slack


@given(STORIES, CAPACITIES, SOME)
def test_a_lie_about_ones_demand_gains_nothing_in_the_exact_twin(
    demands: list[Vector], capacity: Vector, lie: Vector
) -> None:
    honest = level(demands, capacity)[0]
    by_lying = level([lie, *demands[1:]], capacity)[0]
    assert tasks_in(times(lie, by_lying), demands[0]) <= honest


@given(STORIES_OF_ALL, CAPACITIES, ALL)
@settings(max_examples=60)
def test_a_lie_about_ones_demand_gains_next_to_nothing_in_whole_bundles(
    demands: list[Vector], capacity: Vector, lie: Vector
) -> None:
    """Three bundles by which the honest may have less than in the twin, one by which the liar was
    served before another, and what small bundles pick up where another's no longer fits: at most
    that one bundle, of the resource that the liar needs least.
    """
    truth, *others = demands
    size = _share_of_one(truth, capacity)
    least = min(Fraction(part, whole) for part, whole in zip(truth, capacity, strict=True)) / size
    slack = largest(truth, lie, *others, capacity=capacity) * (4 + 1 / least)
    honest, by_lying = filled(demands, capacity)[0], filled([lie, *others], capacity)[0]
    assert (tasks_in(times(lie, by_lying), truth) - honest) * size <= slack


@given(STORIES, CAPACITIES)
@settings(max_examples=60)
def test_nobody_would_rather_have_what_another_has(demands: list[Vector], capacity: Vector) -> None:
    """One bundle of the other's, served first when both had the same, and one of one's own, which
    did not fit and in whose room the other's do."""
    exact, got = level(demands, capacity), filled(demands, capacity)
    for n, demand in enumerate(demands):
        for other, theirs in enumerate(demands):
            assert tasks_in(times(theirs, exact[other]), demand) <= exact[n]
            envied = tasks_in(times(theirs, got[other]), demand)
            size = _share_of_one(demand, capacity)
            assert (envied - got[n]) * size <= size + _share_of_one(theirs, capacity)


@given(STORIES, CAPACITIES)
@settings(max_examples=60)
def test_nobody_can_have_more_unless_another_has_less(
    demands: list[Vector], capacity: Vector
) -> None:
    exact, got = level(demands, capacity), filled(demands, capacity)
    dry = [
        sum(d[r] * tasks for d, tasks in zip(demands, exact, strict=True)) == capacity[r]
        for r in range(3)
    ]
    held = Resources()
    for demand, bundles in zip(demands, got, strict=True):
        assert any(dry[r] for r in range(3) if demand[r])
        held += Resources(*(amount * bundles for amount in demand))
    for demand in demands:
        assert not (Resources(*capacity) - held).covers(Resources(*demand))


def test_walls_are_not_pareto_efficient() -> None:
    """That the property above can be missed: with one of two roles idle, half the pool is."""
    pool = Pool(
        policy=StaticPartition(shares={RoleId("busy"): 1, RoleId("idle"): 1}),
        capacity=Resources(100, 100, 100),
    )
    pool.agent("busy", Resources(1, 1, 1), wants=ENDLESS)
    pool.agent("idle", Resources(1, 1, 1))
    pool.fill()
    assert pool.free() == Resources(50, 50, 50)


def test_the_twin_solves_the_papers_example() -> None:
    """Section 4.1: x = 3 tasks of 1 CPU and 4 GB, y = 2 of 3 CPUs and 1 GB."""
    assert level([(0, 1, 4), (0, 3, 1)], (1, 9, 18)) == [3, 2]
