"""An engine's own book: what it honours, what it refuses, and why."""

from collections.abc import Iterable

import pytest

from coordsvc.core.guard import Guard, Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, NodeId, OfferId

GPU, HALF = Resources(gpu_milli=1_000), Resources(gpu_milli=500)
FIRST, SECOND_LIFE = Epoch("run", 1), Epoch("run", 2)


def grant(number: int, *, use: int = 1, bundle: Resources = HALF, epoch: Epoch = FIRST) -> Grant:
    return Grant(
        epoch=epoch,
        offer_id=OfferId(number),
        use=use,
        node=NodeId("n1"),
        agent=AgentId("planner"),
        desk=DeskId("p1"),
        bundle=bundle,
    )


def fenced(**limits: int) -> Guard:
    guard = Guard(GPU, **limits)
    guard.fence(FIRST)
    return guard


def run_all(guard: Guard, grants: Iterable[Grant]) -> None:
    for each in grants:
        assert guard.admit(each) is None
        guard.finish(each)


def told(guard: Guard) -> tuple[OfferId, ...]:
    """Ask twice: a desk has the time between to tell of an end itself."""
    return guard.take_finished() + guard.take_finished()


def test_a_grant_runs_until_it_is_finished_and_then_leaves_its_room() -> None:
    guard = fenced()
    first, second, third = grant(1), grant(2), grant(3)
    assert guard.admit(first) is None
    assert guard.admit(second) is None
    assert guard.running() == (first, second)
    guard.finish(first)
    assert guard.admit(third) is None
    assert guard.running() == (second, third)
    assert (guard.journal.admitted, guard.journal.finished) == (3, 1)


def test_a_valid_grant_without_room_is_a_broken_reservation_and_is_counted() -> None:
    guard = fenced()
    guard.admit(grant(1, bundle=GPU))
    assert guard.admit(grant(2)) is Refusal.NO_ROOM
    assert guard.journal.broken_reservations == 1
    assert guard.running() == (grant(1, bundle=GPU),)


def test_an_invalid_grant_without_room_is_no_broken_reservation() -> None:
    guard = fenced()
    guard.admit(grant(1, bundle=GPU))
    guard.void(OfferId(2))
    assert guard.admit(grant(2)) is Refusal.VOIDED
    assert guard.journal.broken_reservations == 0


def test_an_engine_that_nobody_fenced_honours_nothing() -> None:
    assert Guard(GPU).admit(grant(1)) is Refusal.STALE_EPOCH


def test_a_fence_refuses_unstarted_work_of_earlier_epochs_and_tells_what_runs() -> None:
    guard = fenced()
    guard.admit(grant(1))
    assert guard.fence(SECOND_LIFE) == (grant(1),)
    assert guard.admit(grant(2)) is Refusal.STALE_EPOCH
    assert guard.admit(grant(1, use=2)) is Refusal.STALE_EPOCH
    assert guard.admit(grant(3, epoch=SECOND_LIFE)) is None
    guard.finish(grant(1))


def test_an_allocator_that_comes_too_late_cannot_fence() -> None:
    guard = fenced()
    guard.fence(SECOND_LIFE)
    assert guard.fence(FIRST) is None
    assert guard.epoch == SECOND_LIFE


def test_a_fence_repeated_by_the_same_allocator_does_no_harm() -> None:
    guard = fenced()
    guard.admit(grant(1))
    assert guard.fence(FIRST) == (grant(1),)
    assert guard.admit(grant(2)) is None


def test_an_allocator_that_lost_sight_of_an_engine_fences_off_its_own_earlier_offers() -> None:
    """It gave their bundles up when it thought the engine dead; the engine was not."""
    guard = fenced()
    guard.admit(grant(1))
    assert guard.fence(FIRST, above=OfferId(2)) == (grant(1),)
    assert guard.admit(grant(2)) is Refusal.VOIDED
    assert guard.admit(grant(3)) is None
    guard.finish(grant(1))
    assert guard.admit(grant(1, use=2)) is Refusal.VOIDED
    guard.fence(FIRST)  # a fence that was late does not lower the mark
    assert guard.admit(grant(2)) is Refusal.VOIDED


def test_a_grant_of_another_run_of_the_cluster_is_refused() -> None:
    assert fenced().admit(grant(1, epoch=Epoch("other", 9))) is Refusal.STALE_EPOCH


def test_a_use_runs_once_and_uses_rise() -> None:
    guard = fenced()
    run_all(guard, [grant(1)])
    assert guard.admit(grant(1)) is Refusal.REPEATED
    run_all(guard, [grant(1, use=2)])
    assert guard.admit(grant(1)) is Refusal.REPEATED
    assert guard.admit(grant(1, use=2)) is Refusal.REPEATED
    run_all(guard, [grant(1, use=7)])


def test_one_grant_runs_one_phase_at_a_time() -> None:
    guard = fenced()
    guard.admit(grant(1))
    assert guard.admit(grant(1, use=2)) is Refusal.REPEATED
    guard.finish(grant(1))


def test_a_running_grants_repeat_is_refused_however_many_came_since() -> None:
    guard = fenced(remembered_max=1)
    long_running = grant(1)
    guard.admit(long_running)
    run_all(guard, [grant(2), grant(3)])
    assert guard.admit(long_running) is Refusal.REPEATED
    guard.finish(long_running)


def test_a_voided_offer_is_never_started() -> None:
    guard = fenced()
    assert guard.void(OfferId(1)) is False
    assert guard.void(OfferId(1)) is False
    assert guard.admit(grant(1)) is Refusal.VOIDED


def test_a_running_offer_cannot_be_voided() -> None:
    guard = fenced()
    guard.admit(grant(1))
    assert guard.void(OfferId(1)) is True
    guard.finish(grant(1))
    assert guard.void(OfferId(1)) is False
    assert guard.admit(grant(1, use=2)) is Refusal.VOIDED


def test_what_ended_is_told_once() -> None:
    guard = fenced()
    run_all(guard, [grant(1), grant(2)])
    assert guard.take_finished() == ()  # the desk that ran them has until the next time to tell
    assert guard.take_finished() == (1, 2)
    assert guard.take_finished() == ()


def test_a_grant_whose_end_was_told_is_never_used_again() -> None:
    """Whoever was told may have given the bundle away; a silent desk must not use it again."""
    guard = fenced()
    run_all(guard, [grant(1)])
    assert told(guard) == (1,)
    assert guard.admit(grant(1, use=2)) is Refusal.VOIDED


def test_a_grant_in_use_again_has_not_ended() -> None:
    guard = fenced()
    run_all(guard, [grant(1)])
    guard.take_finished()
    guard.admit(grant(1, use=2))
    assert told(guard) == ()


def test_memory_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    guard = fenced(remembered_max=2, finished_max=2)
    run_all(guard, [grant(1), grant(2), grant(3)])
    assert told(guard) == (2, 3)
    for number in (11, 12, 13):
        guard.void(OfferId(number))
    assert guard.admit(grant(12)) is Refusal.VOIDED
    assert guard.admit(grant(13)) is Refusal.VOIDED
    assert guard.admit(grant(1)) is None  # forgotten: the price of a bound


def test_to_finish_what_does_not_run_is_a_bug_of_the_shell() -> None:
    guard = fenced()
    with pytest.raises(KeyError):
        guard.finish(grant(1))
    guard.admit(grant(1))
    with pytest.raises(AssertionError, match="one phase at a time"):
        guard.finish(grant(1, use=2))
