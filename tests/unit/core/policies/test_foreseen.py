"""Orders that change at foreseen instants."""

from coordsvc.core.policies.foreseen import CHANGES_MAX, GRAIN_US, Foreseen
from coordsvc.core.units import SECOND, Instant
from tests.unit.core.policies.filling import at


def test_keys_change_when_a_change_is_due_and_not_before() -> None:
    order = Foreseen()
    order.foresee(at(3))
    assert not order.refresh(at(2.9), {})
    assert order.as_of == at(0)
    assert order.refresh(at(3.1), {})
    assert order.as_of == at(3.1)
    assert not order.refresh(at(99), {})


def test_changes_foreseen_in_any_order_are_made_in_theirs() -> None:
    order = Foreseen()
    for change in (5, 3, 4):
        order.foresee(at(change))
    assert [order.refresh(at(now), {}) for now in (3, 3.5, 4, 6, 7)] == [
        True,
        False,
        True,
        True,
        False,
    ]


def test_a_change_is_made_at_the_end_of_its_grain_and_once_for_all_in_it() -> None:
    order = Foreseen()
    for early in range(1, 9):
        order.foresee(Instant(SECOND + early))
    assert order.changes == [SECOND + GRAIN_US]
    assert not order.refresh(Instant(SECOND + 8), {})
    assert order.refresh(Instant(SECOND + GRAIN_US), {})


def test_a_change_of_the_past_is_made_at_the_next_chance_unless_keys_know_it() -> None:
    order = Foreseen()
    order.foresee(at(4))
    order.refresh(at(4), {})
    order.foresee(at(4))
    assert not order.refresh(at(9), {})
    order.foresee(at(8))
    assert order.refresh(at(9), {})


def test_of_too_many_changes_the_last_are_forgotten() -> None:
    order = Foreseen()
    for n in range(CHANGES_MAX + 50, 0, -1):
        order.foresee(Instant(n * GRAIN_US))
    assert len(order.changes) == CHANGES_MAX
    assert order.changes[0] == GRAIN_US
