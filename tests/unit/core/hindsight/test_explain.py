"""Why something waits, in words that name the cause."""

import json

import pytest

from coordsvc.core.allocator import Allocator
from coordsvc.core.errors import BadRequest
from coordsvc.core.filters import NodeFilter
from coordsvc.core.hindsight.codec import from_plain, to_plain
from coordsvc.core.hindsight.explain import DeskTold, Explanation, explain
from coordsvc.core.hindsight.snapshot import snapshot
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskJoined,
    Event,
    NodeDraining,
    NodeJoined,
    SendOffer,
    Suppressed,
    Wanted,
)
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
    TurnId,
)
from coordsvc.core.waits import PhaseWait
from tests.walks import Walk

GPU, HALF = Resources(gpu_milli=1_000), Resources(gpu_milli=500)
PLANNER, CHECKER = AgentId("acme/planner"), AgentId("checker")
P1, C1 = DeskId("p1"), DeskId("c1")
NOW = Instant(5 * SECOND)


def wait(turn: str, waited: float = 0) -> PhaseWait:
    us = Micros(round(waited * SECOND))
    return PhaseWait(turn=TurnId(turn), waited_us=us, turn_us=us, left_us=Micros(60 * SECOND))


class Room:
    def __init__(self, terms: Terms | None = None) -> None:
        self.allocator = Allocator(Epoch("run", 1), terms or Terms())

    def tell(self, *events: Event) -> list[OfferId]:
        effects = [e for event in events for e in self.allocator.handle(NOW, event)]
        return [one.offer.offer_id for one in effects if isinstance(one, SendOffer)]

    def why(self, **about: str) -> Explanation:
        return explain(self.allocator, NOW, **about)

    def desk(self, desk: DeskId = C1) -> DeskTold:
        (told,) = self.why(desk=desk).desks
        return told


def full(terms: Terms | None = None) -> Room:
    """Return a room in which the planner runs on all of one GPU, and the checker waits for half."""
    room = Room(terms)
    room.tell(NodeJoined(NodeId("n1"), GPU), DeskJoined(P1, PLANNER, GPU))
    (offer,) = room.tell(Wanted(P1, 1, 0, (wait("a"),)))
    room.tell(Accepted(offer, GPU), DeskJoined(C1, CHECKER, HALF))
    room.tell(Wanted(C1, 1, 0, (wait("b", 2),)))
    return room


def test_what_does_not_wait_is_said_not_to() -> None:
    told = full().why(desk=P1)
    assert told.summary == "desk p1 does not wait; 0 offers are in hand"
    assert not told.desks[0].waits
    assert told.desks[0].would_help == ()


def test_a_full_pool_is_named_with_who_holds_it() -> None:
    told = full().why(turn="b")
    assert told.summary == (
        "turn b waits for 2.0 s, number 1 in line: no node that it may use has room"
    )
    (desk,) = told.desks
    assert (desk.turn, desk.waited_us, desk.place) == ("b", 2 * SECOND, 1)
    assert (desk.nodes.all, desk.nodes.no_room_now) == (1, 1)
    assert desk.would_help == ("a bundle of gpu=500 freed on any of 1 nodes",)
    (holder,) = told.holders
    assert (holder.agent, holder.bundles, holder.held, holder.share) == (PLANNER, 1, GPU, 1.0)


def test_who_is_before_it_is_named_with_the_reason() -> None:
    room = full(Terms(policy=PolicyTerms(name="first_come")))
    room.tell(Wanted(P1, 1, 0, (wait("c", 3),)))
    desk = room.desk()
    assert desk.place == 2
    assert [(one.desk, one.turn, one.key) for one in desk.before] == [(P1, "c", "asked 3.0 s ago")]


def test_a_filter_is_named_by_the_condition_that_nodes_do_not_meet() -> None:
    room = Room()
    room.tell(NodeJoined(NodeId("n1"), GPU, {"adapter": "y"}), NodeJoined(NodeId("n2"), GPU))
    where = NodeFilter.requiring({"adapter": "x"})
    room.tell(DeskJoined(C1, CHECKER, HALF, None, where), Wanted(C1, 1, 0))
    desk = room.desk()
    assert desk.nodes.excluded == {"adapter is x": 2}
    assert "the filter adapter is x met by a node: 2 do not meet it" in desk.would_help


def test_a_limit_is_named_with_whose_it_is() -> None:
    room = Room(Terms(roles={RoleId("acme"): RoleTerms(limit=HALF)}))
    room.tell(NodeJoined(NodeId("n1"), GPU), DeskJoined(P1, PLANNER, HALF), Wanted(P1, 2, 0))
    desk = room.desk(P1)
    assert desk.place is None, "a closed role does not stand in line"
    assert desk.in_the_way[0] == "the limit of acme is gpu=500, and it holds gpu=500"
    assert "the limit of acme raised, or some of its 1 bundles ended" in desk.would_help
    assert desk.nodes.room_now == 1


def test_a_refusal_is_named_with_its_end() -> None:
    room = Room()
    room.tell(NodeJoined(NodeId("n1"), GPU), DeskJoined(C1, CHECKER, HALF))
    (offer,) = room.tell(Wanted(C1, 1, 0))
    room.tell(Declined(offer, Micros(3_200_000)))
    desk = room.desk()
    assert desk.nodes.refused == {"n1": 3_200_000}
    assert desk.would_help == ("the refusal of n1 ends in 3.2 s",)


def test_nodes_that_drain_are_too_small_or_reserved_are_told_apart() -> None:
    room = Room()
    room.tell(
        NodeJoined(NodeId("n1"), GPU),
        NodeDraining(NodeId("n1"), Micros(SECOND)),
        NodeJoined(NodeId("n2"), Resources(gpu_milli=100)),
        NodeJoined(NodeId("n3"), GPU, {}, (), {RoleId("acme"): GPU}),
        DeskJoined(C1, CHECKER, HALF),
        Wanted(C1, 1, 0),
    )
    nodes = room.desk().nodes
    assert (nodes.draining, nodes.too_small, nodes.reserved) == (("n1",), 1, 1)
    assert room.desk().would_help == (
        "node n1 reopened: it drains",
        "what is reserved for others on 1 nodes given up",
        "a smaller bundle: 1 nodes are too small for gpu=500",
    )


def test_a_desk_that_asked_for_nothing_is_reminded_of_it() -> None:
    room = full()
    room.tell(Suppressed(C1))
    desk = room.desk()
    assert desk.place is None
    assert desk.in_the_way[0] == "desk c1 is suppressed: it asked to be offered nothing"
    assert desk.would_help[-1] == "desk c1 revives"


def test_where_there_is_no_node_one_would_help() -> None:
    room = Room()
    room.tell(DeskJoined(C1, CHECKER, HALF), Wanted(C1, 1, 0))
    assert room.desk().would_help == ("a node that joins",)


def test_guarantees_of_others_are_named() -> None:
    room = full(Terms(roles={RoleId("vip"): RoleTerms(guarantee=HALF)}))
    assert "guarantees of others that are not met (gpu=500) come first" in room.desk().in_the_way


def test_a_tenant_may_be_asked_about_as_one() -> None:
    assert [one.desk for one in full().why(agent="acme").desks] == [P1]


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({}, "one of them"),
        ({"agent": "a", "desk": "b"}, "one of them"),
        ({"agent": "nobody"}, "agent nobody has no desk; there are acme/planner, checker"),
        ({"desk": "p9"}, "desk p9 has not joined; there are c1, p1"),
        ({"turn": "t9"}, "turn t9 waits at no desk"),
    ],
)
def test_a_question_about_nothing_is_refused(about: dict[str, str], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        full().why(**about)


def test_it_can_be_asked_at_any_time_and_changes_nothing() -> None:
    for seed in range(9):
        walk = Walk(seed)
        allocator = walk.allocator()
        for n in range(120):
            allocator.handle(*walk.next(allocator))
            if n % 7 or not allocator.desks:
                continue
            before = snapshot(allocator)
            for desk in allocator.desks:
                told = explain(allocator, allocator.now, desk=desk)
                data = json.loads(json.dumps(to_plain(told, Explanation), allow_nan=False))
                assert from_plain(data, Explanation) == told
                (one,) = told.desks
                counted = one.nodes
                assert counted.all == sum(
                    (
                        counted.room_now,
                        counted.no_room_now,
                        counted.too_small,
                        counted.reserved,
                        len(counted.draining),
                        len(counted.refused),
                        *counted.excluded.values(),
                    )
                )
            assert snapshot(allocator) == before
