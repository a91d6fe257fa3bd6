"""The order in which turns would end under ideal sharing (Justitia, arXiv:2510.17015)."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.policies import Ended
from coordsvc.core.policies.virtual_finish import FINE_BITS, VirtualFinish
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, Micros, TurnId
from tests.unit.core.policies.filling import GPU, Pool, at, wait

CAPACITY = Resources(gpu_milli=2_000)
PLANNER = AgentId("planner")


def ended(bundle: Resources) -> Ended:
    return Ended(
        agent=PLANNER,
        bundle=bundle,
        began=at(0),
        ended=at(0),
        compute_us=Micros(0),
        late=False,
    )


def policy(slots: int = 2, **told: int) -> VirtualFinish:
    return VirtualFinish(slots=slots, **told)


def arrive(
    order: VirtualFinish, now: float, turn: str, rest: float, agent: str = "planner"
) -> None:
    order.arrived(at(now), AgentId(agent), wait(turn, arrived=now, rest=rest), CAPACITY)


def by_tag(order: VirtualFinish, *turns: str) -> list[str]:
    return sorted(turns, key=lambda turn: order.urgency(wait(turn)))


def virtual_s(order: VirtualFinish) -> float:
    return order.virtual / (1 << FINE_BITS) / 1_000_000


def test_of_turns_that_come_at_once_the_shortest_goes_first() -> None:
    pool = Pool(policy=policy(), capacity=CAPACITY)
    pool.agent("planner")
    pool.phase(0, "planner", wait("long", rest=9))
    pool.phase(0, "planner", wait("short", rest=1))
    assert pool.fill() == ["short", "long"]


def test_a_turn_keeps_its_tag_from_phase_to_phase() -> None:
    order = policy()
    arrive(order, 0, "t", 9)
    tag = order.urgency(wait("t"))
    arrive(order, 5, "t", 1)
    assert order.urgency(wait("t")) == tag


def test_short_turns_that_keep_coming_do_not_delay_a_long_one_for_ever() -> None:
    """Two slots for four long turns: each has half of the real time."""
    order = policy()
    for turn in ("long", "other", "third", "fourth"):
        arrive(order, 0, turn, 60)
    arrive(order, 60, "short at 60", 10)
    assert virtual_s(order) == pytest.approx(30)
    # now five turns share two slots: the short one would have its 10 s in 25 s
    arrive(order, 105, "short at 105", 10)
    assert virtual_s(order) == pytest.approx(30 + 10 + 20 * 2 / 4)
    arrive(order, 120, "short at 120", 10)
    assert virtual_s(order) == pytest.approx(50 + 15 * 2 / 5)
    assert by_tag(order, "long", "short at 60", "short at 105", "short at 120") == [
        "short at 60",
        "long",
        "short at 105",
        "short at 120",
    ]


def test_a_lone_turn_is_served_at_real_speed_however_many_slots_are_free() -> None:
    order = policy(slots=100)
    arrive(order, 0, "alone", 60)
    arrive(order, 10, "next", 60)
    assert virtual_s(order) == pytest.approx(10)


def test_virtual_time_stands_still_while_nobody_is_active() -> None:
    order = policy()
    arrive(order, 0, "alone", 5)
    arrive(order, 1_000, "much later", 5)
    assert virtual_s(order) == pytest.approx(5)


def test_twice_the_weight_ends_as_if_half_as_long() -> None:
    order = VirtualFinish(weights={AgentId("acme/planner"): 2})
    arrive(order, 0, "light", 3)
    arrive(order, 0, "heavy", 5, agent="acme/planner")
    assert by_tag(order, "light", "heavy") == ["heavy", "light"]


def test_where_nobody_knows_how_long_turns_are_the_first_to_come_is_first() -> None:
    order = policy()
    for n in (0, 1, 2):
        arrive(order, n, f"turn {n}", 0)
    assert by_tag(order, "turn 2", "turn 1", "turn 0") == ["turn 0", "turn 1", "turn 2"]


def test_how_many_phases_run_at_once_is_seen_by_what_they_held() -> None:
    order = VirtualFinish()
    half = Resources(gpu_milli=500)
    for bundle, slots in ((Resources(), 1), (GPU, 2), (half, 4), (CAPACITY + CAPACITY, 1)):
        order.ended(at(0), ended(bundle))
        arrive(order, 0, f"seen with {bundle}", 1)
        assert order.slots == slots


def test_of_too_many_turns_the_oldest_is_forgotten_and_goes_first() -> None:
    order = policy(turns_max=3)
    for n in range(5):
        arrive(order, 0, f"turn {n}", 9 - n)
    assert list(order.tags) == [TurnId("turn 2"), TurnId("turn 3"), TurnId("turn 4")]
    assert len(order.active) == 3
    assert order.active_weight == 3
    assert by_tag(order, "turn 4", "turn 0")[0] == "turn 0"


def test_a_weight_of_nothing_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        VirtualFinish(weights={PLANNER: 0})


STORIES = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 12)), min_size=2, max_size=12)
"""Seconds since the turn before, and how long it is."""


def shared_ideally(story: list[tuple[int, int]], slots: int) -> list[Fraction]:
    """Return when each turn ends if at any time all that are there share the slots alike."""
    starts = [sum(gap for gap, _ in story[: n + 1]) for n in range(len(story))]
    left = [Fraction(length) for _, length in story]
    ends = [Fraction(-1)] * len(story)
    now = Fraction(0)
    while min(ends) < 0:
        there = [n for n in range(len(story)) if starts[n] <= now and ends[n] < 0]
        pace = min(Fraction(1), Fraction(slots, max(1, len(there))))
        coming = [Fraction(start) - now for start in starts if start > now]
        step = min(coming + [left[n] / pace for n in there])
        now += step
        for n in there:
            left[n] -= step * pace
            if left[n] == 0:
                ends[n] = now
    return ends


@given(STORIES, st.integers(1, 4))
def test_tags_are_in_the_order_in_which_ideal_sharing_would_end(
    story: list[tuple[int, int]], slots: int
) -> None:
    order = policy(slots)
    now = 0
    for n, (gap, length) in enumerate(story):
        now += gap
        arrive(order, now, f"{n}", length)
    ends = shared_ideally(story, slots)
    tags = [order.tags[TurnId(f"{n}")] for n in range(len(story))]
    fine = len(story) * 2  # each step is rounded down to a millionth of a microsecond
    for a, end_a in enumerate(ends):
        for b, end_b in enumerate(ends):
            if end_a < end_b:
                assert tags[a] <= tags[b] + fine
