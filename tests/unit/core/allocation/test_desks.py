"""What the allocator knows of a desk: what it wants, refuses, and how it behaves."""

from coordsvc.core.allocation.desks import DECLINE_WINDOW_US, DeskState
from coordsvc.core.policies.first_come import FirstCome
from coordsvc.core.policies.oldest_first import OldestFirst
from coordsvc.core.units import Instant, Micros, TurnId
from coordsvc.core.waits import Wait
from tests.unit.core.stories import HALF, N1, N2, N3, P1, PLANNER, QUARTER


def a_state(waiting: int = 0, ahead: int = 0, issued: int = 0) -> DeskState:
    return DeskState(
        desk=P1,
        agent=PLANNER,
        bundle=HALF,
        least=QUARTER,
        waiting=waiting,
        ahead=ahead,
        issued=issued,
    )


def a_wait(turn: str, asked: int, arrived: int = 0) -> Wait:
    return Wait(
        turn=TurnId(turn),
        asked=Instant(asked),
        arrived=Instant(arrived),
        deadline=Instant(9_000_000),
    )


def test_it_wants_what_waits_and_what_it_holds_ahead_up_to_a_bound() -> None:
    assert a_state(waiting=2, ahead=1, issued=2).wants_more(9)
    assert not a_state(waiting=2, ahead=1, issued=3).wants_more(9)
    assert not a_state(waiting=200, issued=9).wants_more(9)


def test_what_is_unmet_and_what_is_spare_are_never_both() -> None:
    assert (a_state(waiting=3, issued=1).unmet, a_state(waiting=3, issued=1).spare) == (2, 0)
    assert (a_state(waiting=1, issued=3).unmet, a_state(waiting=1, issued=3).spare) == (0, 2)


def test_a_suppressed_or_quiet_desk_wants_nothing() -> None:
    state = a_state(waiting=2)
    state.suppressed = True
    assert not state.wants_more(9)
    state.suppressed, state.quiet_until = False, Instant(5)
    assert not state.wants_more(9)


def test_the_most_urgent_phase_that_no_offer_is_meant_for_stands_for_the_desk() -> None:
    state, policy = a_state(waiting=2), FirstCome()
    state.hears_of([a_wait("late", 20), a_wait("early", 10)], policy)
    assert state.claim().head == a_wait("early", 10)
    state.mean_for(TurnId("early"))
    state.issued = 1
    assert state.head() == a_wait("late", 20)
    state.no_longer_meant(TurnId("early"))
    assert state.head() == a_wait("early", 10)


def test_no_phase_stands_for_a_desk_whose_phases_all_have_offers() -> None:
    state = a_state(waiting=1, issued=1)
    state.hears_of([a_wait("t1", 10)], FirstCome())
    assert state.head() is None


def test_an_offer_meant_for_nobody_in_particular_is_not_counted() -> None:
    state = a_state()
    state.mean_for(None)
    state.no_longer_meant(None)
    state.no_longer_meant(TurnId("unheard of"))
    assert state.meant == {}


def test_two_offers_meant_for_one_turn_are_counted_as_two() -> None:
    state = a_state()
    for _ in range(2):
        state.mean_for(TurnId("t1"))
    state.no_longer_meant(TurnId("t1"))
    assert state.meant == {"t1": 1}


def test_what_is_heard_again_keeps_the_instants_of_the_first_time() -> None:
    state, policy = a_state(waiting=2), FirstCome()
    state.hears_of([a_wait("t1", 10), a_wait("t2", 15)], policy)
    state.hears_of([a_wait("t1", 30)], policy)
    assert list(state.waits.values()) == [a_wait("t1", 10)]


def test_another_policy_puts_the_same_phases_in_another_order() -> None:
    state = a_state(waiting=2)
    state.hears_of([a_wait("young", 10, arrived=9), a_wait("old", 20, arrived=1)], FirstCome())
    assert list(state.waits) == ["young", "old"]
    state.reorder(OldestFirst())
    assert list(state.waits) == ["old", "young"]


def test_a_refusal_ends_and_the_longest_of_two_counts() -> None:
    state = a_state()
    state.refuse(N1, Instant(20), 4)
    state.refuse(N1, Instant(10), 4)
    assert state.refuses(N1, Instant(19))
    assert not state.refuses(N1, Instant(20))
    assert not state.refuses(N2, Instant(0))


def test_only_the_latest_refusals_are_remembered() -> None:
    state = a_state()
    forgotten = [state.refuse(node, Instant(9), 2) for node in (N1, N2, N1, N3)]
    assert forgotten == [False, False, False, True]
    assert list(state.refused_until) == [N1, N3]


def test_a_flood_of_declines_is_noticed_and_slow_ones_never_are() -> None:
    state = a_state()
    assert [state.count_decline(Instant(n), 2) for n in range(2)] == [None, None]
    assert state.count_decline(Instant(5), 2) == 5 + DECLINE_WINDOW_US
    slow = a_state()
    for n in range(20):
        assert slow.count_decline(Instant(n * Micros(DECLINE_WINDOW_US)), 1) is None
