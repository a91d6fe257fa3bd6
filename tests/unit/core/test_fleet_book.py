"""The fleet's account: looks at the allocator's books, joined with engines' words."""

from collections.abc import Mapping
from typing import Any

import pytest

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocator import Allocator
from coordsvc.core.computed import BIN_US, Computing
from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.fleet import WHOLE, States
from coordsvc.core.fleet_book import WORD_LATE_US, FleetBook, NodeSeen, Seen, look
from coordsvc.core.messages import NodeDraining, NodeJoined
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, Micros, NodeId, RoleId

N1, N2 = NodeId("n1"), NodeId("n2")
FOUR = Resources(cpu_milli=4_000)
ONE = Resources(cpu_milli=1_000)
QUARTER = WHOLE // 4
LARGE = NodeFilter.requiring({"memory": "large"})


def pool(**reserved: Mapping[RoleId, Resources]) -> Allocator:
    """Two nodes of four slots, of which the second has a large memory."""
    allocator = Allocator(Epoch("run", 1))
    allocator.handle(Instant(1), NodeJoined(N1, FOUR, {"memory": "small"}, (), **reserved))
    allocator.handle(Instant(1), NodeJoined(N2, FOUR, {"memory": "large"}))
    allocator.ledger.rooms.ask_for(LARGE.names())  # as for a desk with such a filter
    return allocator


def desk(waiting: int, where: NodeFilter = ANY_NODE, **more: Any) -> DeskState:
    name = f"d{waiting}{where}"
    usual = {"bundle": ONE, "least": ONE, "agent": AgentId("a")} | more
    return DeskState(desk=DeskId(name), waiting=waiting, where=where, **usual)


def seen(allocator: Allocator, *desks: DeskState) -> Seen:
    return look(allocator.ledger, desks)


# One look


def test_a_pool_that_nobody_waits_for_is_idle() -> None:
    told = seen(pool(), desk(0))
    assert told.free == States(idle=2 * WHOLE)
    assert told.nodes[N1] == NodeSeen(WHOLE, 0, None)


def test_one_waiter_blocks_one_share() -> None:
    told = seen(pool(), desk(3))
    assert told.free == States(blocked=3 * QUARTER, idle=5 * QUARTER)
    assert told.nodes[N1].wanted == QUARTER


def test_a_phase_for_which_an_offer_is_on_its_way_blocks_nothing_more() -> None:
    assert seen(pool(), desk(3, issued=2)).free == States(blocked=QUARTER, idle=7 * QUARTER)


def test_the_choosiest_are_matched_first() -> None:
    """Four want the large node, four any: eight slots do for all, in this order only."""
    told = seen(pool(), desk(4), desk(4, LARGE))
    assert told.free == States(blocked=2 * WHOLE)


def test_what_fits_nobody_is_stranded() -> None:
    told = seen(pool(), desk(6, LARGE))
    assert told.free == States(blocked=WHOLE, stranded=WHOLE)
    assert told.nodes[N1].wanted is None
    big = Resources(cpu_milli=5_000)
    assert seen(pool(), desk(1, bundle=big, least=big)).free == States(stranded=2 * WHOLE)


def test_what_is_reserved_for_others_and_what_drains_can_not_be_used() -> None:
    held_back = pool(reserved={RoleId("b"): FOUR})
    assert seen(held_back, desk(8)).free == States(blocked=WHOLE, stranded=WHOLE)
    assert seen(held_back, desk(8, agent=AgentId("b"))).free == States(blocked=2 * WHOLE)
    draining = pool()
    draining.handle(Instant(2), NodeDraining(N1, Micros(1)))
    assert seen(draining, desk(8)).free == States(blocked=WHOLE, stranded=WHOLE)


# Looks and words


class Story:
    """A node that is looked at every bin, and tells its word every second."""

    def __init__(self, capacity: int = WHOLE) -> None:
        self.book = FleetBook()
        self.engine = Computing(Instant(0), capacity)
        self.now = Instant(0)
        self.free = States()
        self.node = NodeSeen(capacity, 0, None)
        self.tells = True

    def lasts(self, seconds: int) -> "Story":
        for _ in range(seconds * 20):
            self.now = Instant(self.now + BIN_US)
            self.book.looked(self.now, Seen({N1: self.node}, self.free))
            if self.now % 1_000_000 == 0 and self.tells:
                self.book.told(self.now, N1, self.engine.word(self.now))
        return self

    def computes(self, change: int) -> None:
        self.engine.changed(self.now, change)

    @property
    def parts(self) -> dict[str, float]:
        states = self.book.states
        return {name: amount / states.total for name, amount in states.as_dict().items() if amount}


def test_what_is_offered_and_does_not_compute_is_held_while_somebody_waits_for_it() -> None:
    story = Story()
    story.node, story.free = NodeSeen(WHOLE, WHOLE, QUARTER), States()
    story.computes(3 * QUARTER)
    assert story.lasts(10).parts == pytest.approx({"computing": 0.75, "held": 0.25})


def test_and_idle_while_nobody_does() -> None:
    story = Story()
    story.node = NodeSeen(WHOLE, WHOLE, None)
    story.computes(3 * QUARTER)
    assert story.lasts(10).parts == pytest.approx({"computing": 0.75, "idle": 0.25})


def test_a_phase_that_needs_more_than_is_left_is_not_kept_from_anything() -> None:
    story = Story()
    story.node = NodeSeen(WHOLE, WHOLE, 2 * QUARTER)
    story.computes(3 * QUARTER)
    assert story.lasts(10).parts == pytest.approx({"computing": 0.75, "idle": 0.25})


def test_the_five_states_add_up_to_all_shares_times_all_the_time() -> None:
    story = Story()
    story.node, story.free = NodeSeen(WHOLE, 2 * QUARTER, QUARTER), States(blocked=2 * QUARTER)
    story.computes(QUARTER)
    story.lasts(10)
    counted = story.now - BIN_US - 0  # from the first look on, all of which has been told
    assert story.book.states.total == counted * WHOLE
    assert story.parts == pytest.approx({"computing": 0.25, "held": 0.25, "blocked": 0.5})


def test_both_books_agree_where_both_hear_everything() -> None:
    story = Story()
    story.node = NodeSeen(WHOLE, WHOLE, None)
    for _ in range(20):
        story.computes(QUARTER)
        story.lasts(1)
        story.computes(-QUARTER)
        story.lasts(1)
    assert story.book.remainder <= BIN_US * WHOLE, "looks and words begin a bin apart at most"


def test_an_engine_that_computes_what_nobody_granted_shows_in_the_remainder() -> None:
    """A planted fault: the engine runs on two quarters, the allocator knows of none."""
    story = Story()
    story.node, story.free = NodeSeen(WHOLE, 0, None), States(idle=WHOLE)
    story.lasts(2)
    before = story.book.remainder
    story.computes(2 * QUARTER)
    story.lasts(10)
    assert story.parts["computing"] > 0.4, "an engine's word counts"
    assert before == 0
    assert story.book.remainder == pytest.approx(10 * 1_000_000 * WHOLE / 2, rel=0.02)


def test_a_time_in_which_nobody_looked_shows_in_the_remainder() -> None:
    story = Story()
    story.free = States(idle=WHOLE)
    story.lasts(3)
    story.now = Instant(story.now + 20_000_000)
    story.lasts(3)
    assert story.book.remainder == pytest.approx(19 * 1_000_000 * WHOLE, rel=0.02)


def test_an_engine_that_falls_silent_computed_nothing_that_anybody_knows() -> None:
    story = Story()
    story.node = NodeSeen(WHOLE, WHOLE, None)
    story.computes(WHOLE)
    story.lasts(5)
    story.tells = False
    story.lasts(10)
    known = story.now - WORD_LATE_US
    states = story.book.states
    assert states.total == pytest.approx(known * WHOLE, rel=0.02)
    assert states.computing == pytest.approx(5_000_000 * WHOLE, rel=0.02)


def test_a_lost_engine_keeps_nobody_waiting() -> None:
    story = Story()
    story.node = NodeSeen(WHOLE, WHOLE, None)
    story.lasts(3)
    story.now = Instant(story.now + BIN_US)
    story.book.looked(story.now, Seen({N1: story.node}, States()))
    story.book.lost(N1)
    story.now = Instant(story.now + BIN_US)
    story.book.looked(story.now, Seen({}, States()))
    assert story.book.states.total == pytest.approx(3_000_000 * WHOLE, rel=0.03)
