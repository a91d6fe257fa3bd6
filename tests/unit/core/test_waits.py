"""A waiting phase, told in durations and seen as instants."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.units import SECOND, Instant, Micros, NodeId, TurnId
from coordsvc.core.waits import PhaseWait, Wait

TOLD = PhaseWait(
    turn=TurnId("t"),
    waited_us=Micros(2 * SECOND),
    turn_us=Micros(5 * SECOND),
    left_us=Micros(30 * SECOND),
    attained_us=Micros(3 * SECOND),
    cost_us=Micros(1 * SECOND),
    rest_us=Micros(4 * SECOND),
    near=NodeId("n1"),
)


def at(seconds: int) -> Instant:
    return Instant(seconds * SECOND)


def test_durations_become_instants_on_the_clock_of_whoever_hears() -> None:
    assert TOLD.seen(at(100)) == Wait(
        turn=TurnId("t"),
        asked=at(98),
        arrived=at(95),
        deadline=at(130),
        attained_us=Micros(3 * SECOND),
        cost_us=Micros(1 * SECOND),
        rest_us=Micros(4 * SECOND),
        near=NodeId("n1"),
    )


def test_told_again_later_it_has_waited_longer_and_has_less_left() -> None:
    later = TOLD.seen(at(100)).told(at(110))
    assert later == replace(
        TOLD,
        waited_us=Micros(12 * SECOND),
        turn_us=Micros(15 * SECOND),
        left_us=Micros(20 * SECOND),
    )


def test_a_deadline_that_has_passed_leaves_nothing_rather_than_less() -> None:
    late = TOLD.seen(at(100)).told(at(131))
    assert late.left_us == 0
    assert late.seen(at(131)).deadline == at(131)


def test_a_clock_that_steps_back_makes_no_wait_negative() -> None:
    stepped = TOLD.seen(at(100)).told(at(97))
    assert stepped.waited_us == 0
    assert stepped.turn_us == Micros(2 * SECOND)


def test_on_a_clock_that_has_just_begun_a_phase_may_have_asked_before_its_zero() -> None:
    seen = TOLD.seen(at(0))
    assert seen.asked == at(-2)
    assert seen.told(at(0)) == TOLD


def test_what_nobody_knows_is_nothing() -> None:
    bare = PhaseWait(turn=TurnId("t"), waited_us=Micros(0), turn_us=Micros(0), left_us=Micros(1))
    seen = bare.seen(at(9))
    assert (seen.attained_us, seen.cost_us, seen.rest_us, seen.near) == (0, 0, 0, None)


DURATIONS = st.integers(0, 10**12).map(Micros)
TOLD_ANYHOW = st.builds(
    PhaseWait,
    turn=st.just(TurnId("t")),
    waited_us=DURATIONS,
    turn_us=DURATIONS,
    left_us=DURATIONS,
    attained_us=DURATIONS,
    cost_us=DURATIONS,
    rest_us=DURATIONS,
    near=st.sampled_from([None, NodeId("n1")]),
)


@given(TOLD_ANYHOW, st.integers(-(10**12), 10**15).map(Instant))
def test_told_seen_and_told_again_at_once_it_is_the_same(told: PhaseWait, now: Instant) -> None:
    assert told.seen(now).told(now) == told
