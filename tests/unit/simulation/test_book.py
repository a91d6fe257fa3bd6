"""The five states of the fleet, against figures worked out by hand."""

import pytest

from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.fleet import States
from coordsvc.core.units import AgentId, Instant, NodeId
from coordsvc.simulation.book import Book

A, B = AgentId("a"), AgentId("b")
N, M = NodeId("n"), NodeId("m")
LARGE = {"memory": "large"}
NEEDS_LARGE = NodeFilter.requiring(LARGE)


def at(instant: int) -> Instant:
    return Instant(instant)


def of_one_node(slots: int = 4) -> Book:
    book = Book([({}, slots)], {A: ANY_NODE, B: ANY_NODE})
    book.node_up(at(0), N, slots, {})
    return book


def test_an_idle_pool_is_idle() -> None:
    assert of_one_node().snapshot(at(10))[0] == States(idle=40)


def test_one_waiting_phase_blocks_one_free_slot_and_not_all() -> None:
    book = of_one_node()
    book.waits(at(0), A, 1)
    book.waits(at(10), A, -1)
    assert book.snapshot(at(10))[0] == States(blocked=10, idle=30)


def test_an_offer_is_held_while_somebody_waits_and_idle_while_nobody_does() -> None:
    book = of_one_node(slots=1)
    book.committed(at(0), N, 1)
    book.waits(at(10), B, 1)
    book.waits(at(30), B, -1)
    assert book.snapshot(at(40))[0] == States(held=20, idle=20)


def test_a_grant_that_computes_is_work_whoever_waits() -> None:
    book = of_one_node(slots=1)
    book.committed(at(0), N, 1)
    book.computing(at(5), N, 1)
    book.waits(at(5), A, 3)
    book.computing(at(25), N, -1)
    book.committed(at(30), N, -1)
    assert book.snapshot(at(40))[0] == States(idle=5, computing=20, held=5, blocked=10)


def test_what_is_free_and_of_no_use_to_those_who_wait_is_stranded() -> None:
    book = Book([({}, 2), (LARGE, 1)], {A: ANY_NODE, B: NEEDS_LARGE})
    book.node_up(at(0), N, 2, {})
    book.node_up(at(0), M, 1, LARGE)
    book.waits(at(0), B, 3)
    assert book.snapshot(at(10))[0] == States(blocked=10, stranded=20)


def test_the_choosiest_is_matched_first_for_that_is_a_maximum_matching() -> None:
    book = Book([(LARGE, 1), ({}, 1)], {A: ANY_NODE, B: NEEDS_LARGE})
    book.node_up(at(0), M, 1, LARGE)
    book.node_up(at(0), N, 1, {})
    book.waits(at(0), A, 1)
    book.waits(at(0), B, 1)
    assert book.snapshot(at(10))[0] == States(blocked=20)


def test_a_dead_nodes_slots_count_no_longer() -> None:
    book = of_one_node()
    book.computing(at(0), N, 2)
    book.node_down(at(10), N)
    book.committed(at(15), N, -1)
    states, _ = book.snapshot(at(20))
    assert states == States(computing=20, idle=20)
    assert states.total == 40


def test_agents_shares_are_what_they_hold_times_how_long() -> None:
    book = of_one_node()
    book.holds(at(0), A, 2)
    book.holds(at(10), A, -1)
    book.holds(at(10), B, 1)
    assert book.snapshot(at(30))[1] == {A: 40, B: 20}
    book.nobody_holds(at(30))
    assert book.snapshot(at(90))[1] == {A: 40, B: 20}


def test_a_new_allocator_begins_with_what_engines_tell() -> None:
    book = of_one_node()
    book.committed(at(0), N, 3)
    book.waits(at(0), A, 1)
    book.committed_anew(at(10), N, 1)
    assert book.snapshot(at(20))[0] == States(held=40, blocked=20, idle=20)


def test_what_agents_can_use_must_be_nested_or_apart() -> None:
    kinds = [({"x": "1", "y": "1"}, 1), ({"x": "1"}, 1), ({"y": "1"}, 1)]
    wants = {A: NodeFilter.requiring({"x": "1"}), B: NodeFilter.requiring({"y": "1"})}
    with pytest.raises(ValueError, match="nested"):
        Book(kinds, wants)


# Phases of unequal width


def of_pieces(*slots: int) -> Book:
    """A node of each size; a phase of B takes two slots."""
    book = Book([({}, size) for size in slots], {A: ANY_NODE, B: ANY_NODE}, {B: 2})
    for n, size in enumerate(slots):
        book.node_up(at(0), NodeId(f"n{n}"), size, {})
    return book


def test_two_halves_on_two_nodes_are_no_whole() -> None:
    book = of_pieces(1, 1)
    book.waits(at(0), B, 1)
    assert book.snapshot(at(10))[0] == States(stranded=20)
    book.waits(at(10), A, 1)
    assert book.snapshot(at(20))[0] == States(stranded=20 + 10, blocked=10)


def test_a_wide_phase_blocks_as_much_as_it_needs_and_narrow_ones_what_is_left() -> None:
    book = of_pieces(3, 1)
    book.waits(at(0), B, 1)
    book.waits(at(0), A, 1)
    assert book.snapshot(at(10))[0] == States(blocked=30, idle=10)


def test_what_is_held_too_small_for_who_waits_is_nobodys_loss() -> None:
    book = of_pieces(1, 2)
    book.committed(at(0), NodeId("n0"), 1)
    book.committed(at(0), NodeId("n1"), 2)
    book.waits(at(0), B, 1)
    assert book.snapshot(at(10))[0] == States(held=20, idle=10)


def test_states_are_subtracted_one_by_one_and_told_by_name() -> None:
    earlier, later = States(computing=1, idle=2), States(computing=5, idle=2, held=1)
    assert later.minus(earlier).as_dict() == {
        "computing": 4,
        "held": 1,
        "blocked": 0,
        "stranded": 0,
        "idle": 0,
    }
