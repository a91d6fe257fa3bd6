"""What is told of nodes: joined with what runs there, lost, reporting, answering."""

import pytest

from coordsvc.core.messages import (
    Accepted,
    Event,
    Finished,
    Granted,
    NodeJoined,
    NodeLost,
    Preempt,
    Reconciled,
    Void,
    Voided,
    Wanted,
)
from coordsvc.core.offers import ACCEPTED, ISSUED, VOIDING
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, Instant, OfferId, RoleId
from tests.unit.core.stories import (
    GPU,
    HALF,
    N1,
    N2,
    P1,
    PLANNER,
    R1,
    RESPONDER,
    Story,
    a_grant,
    freed,
    granted,
    offered,
    refusals,
)

NOBODYS: frozenset[OfferId] = frozenset()


def test_what_runs_on_a_node_that_joins_is_held_before_anything_is_offered() -> None:
    story = Story()
    story.desk(P1)
    story.want(P1, waiting=2)
    effects = story.tell(NodeJoined(N1, GPU, {}, (a_grant(1),)))
    assert isinstance(effects[0], Granted)
    assert len(offered(effects)) == 1
    assert story.allocator.ledger.held_by(PLANNER) == GPU


def test_a_reservation_is_only_for_its_role() -> None:
    story = Story()
    story.node(N1, GPU, reserved={RoleId("responder"): HALF})
    story.desk(P1)
    assert len(story.want(P1, waiting=2)) == 1
    story.desk(R1, RESPONDER)
    (offer,) = story.want(R1, waiting=2)
    assert offer.reserved_for == "responder"


def test_a_tenants_reservation_is_for_all_its_agents_even_those_that_came_before() -> None:
    story = Story()
    story.desk(P1, AgentId("acme/planner"))
    story.want(P1, waiting=2)
    effects = story.node(N1, GPU, reserved={RoleId("acme"): GPU})
    assert [offer.reserved_for for offer in offered(effects)] == ["acme", "acme"]


def test_what_runs_there_is_put_in_its_own_roles_reservation_first() -> None:
    story = Story()
    effects = story.tell(NodeJoined(N1, GPU, {}, (a_grant(1),), {RoleId("planner"): HALF}))
    assert [offer.reserved_for for offer in granted(effects)] == ["planner"]


def test_where_what_runs_does_not_fit_the_parts_the_node_joins_without_reservations() -> None:
    story = Story()
    running = (a_grant(1), a_grant(2))
    effects = story.tell(NodeJoined(N1, GPU, {}, running, {RoleId("responder"): HALF}))
    assert [offer.reserved_for for offer in granted(effects)] == [None, None]


MANY = {f"name{n}": "x" for n in range(65)}


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (NodeJoined(N1, GPU), "has joined already"),
        (NodeJoined(N2, HALF, {}, (), {RoleId("planner"): GPU}), "is reserved of it"),
        (NodeJoined(N2, HALF, {}, (a_grant(1, N2), a_grant(2, N2))), "says that gpu=1000 runs"),
        (NodeJoined(N2, GPU, {}, (a_grant(1, N2), a_grant(1, N2))), "twice"),
        (NodeJoined(N2, GPU, {}, (a_grant(2**60, N2),)), "was not made on node n2"),
        (NodeJoined(N2, GPU, MANY), "65 attributes"),
        (NodeJoined(N2, GPU, {"a": "x" * 20_000}), "20000 characters"),
        (NodeJoined(N2, GPU, {"a" * 600: "x"}), "600 characters"),
        (NodeLost(N2), "is not here"),
        (Reconciled(N2, NOBODYS, ()), "is not here"),
        (Voided(OfferId(9), was_started=True), "holds nothing here"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(event: Event, why: str) -> None:
    story = Story()
    story.node(N1)
    (said,) = refusals(story.tell(event))
    assert why in said
    assert list(story.allocator.ledger.capacity) == [N1]
    assert story.free() == GPU


def test_a_grant_that_runs_elsewhere_already_does_not_come_with_another_node() -> None:
    story = Story()
    story.tell(NodeJoined(N1, GPU, {}, (a_grant(1),)))
    assert len(refusals(story.tell(NodeJoined(N2, GPU, {}, (a_grant(1, N2),))))) == 1
    assert N2 not in story.allocator.ledger.capacity


def test_more_nodes_than_may_be_are_refused_and_counted() -> None:
    story = Story(Terms(nodes_max=1))
    story.node(N1)
    assert refusals(story.node(N2)) == ["ProtocolError: nodes_max is 1, and reached"]
    assert story.allocator.limits_met["nodes_max"] == 1


def started(story: Story) -> OfferId:
    story.node(N1)
    story.desk(P1)
    (offer,) = story.want(P1, waiting=1)
    story.tell(Accepted(offer.offer_id, HALF))
    return offer.offer_id


def test_what_an_engine_never_sees_is_voided_and_then_free() -> None:
    """An agent that says it has started, and has not, holds a bundle for two reports."""
    story = Story(Terms(unseen_max=2))
    offer_id = started(story)
    assert story.tell(Reconciled(N1, NOBODYS, ())) == []
    (question,) = story.tell(Reconciled(N1, NOBODYS, ()))
    assert isinstance(question, Void)
    assert [o.offer_id for o in freed(story.tell(Voided(offer_id, was_started=False)))] == [
        offer_id
    ]
    assert story.free() == GPU


def test_what_an_engine_sees_now_and_then_is_left_alone() -> None:
    story = Story(Terms(unseen_max=2))
    offer_id = started(story)
    for seen in (NOBODYS, frozenset({offer_id}), NOBODYS, frozenset({offer_id})):
        assert story.tell(Reconciled(N1, seen, ())) == []


def test_an_engine_may_say_twice_that_something_has_ended() -> None:
    story = Story()
    offer_id = started(story)
    assert len(freed(story.tell(Reconciled(N1, NOBODYS, (offer_id, offer_id, OfferId(5)))))) == 1


def test_an_answer_that_was_not_asked_for_frees_nothing() -> None:
    story = Story()
    story.node(N1)
    story.desk(P1)
    (offer,) = story.want(P1, waiting=1)
    assert "was not to be voided" in refusals(story.never_started(offer))[0]
    assert story.allocator.ledger.find(offer.offer_id).state is ISSUED
    story.later(20_000_000).tell(Wanted(P1, 0, 0))
    assert story.allocator.ledger.find(offer.offer_id).state is VOIDING
    story.tell(Voided(offer.offer_id, was_started=True))
    assert story.allocator.ledger.find(offer.offer_id).state is ACCEPTED


def test_a_lost_node_frees_what_was_there_and_is_forgotten_by_those_that_refused_it() -> None:
    story = Story()
    started(story)
    state = story.allocator.desks[P1]
    state.refuse(N1, Instant(60), 4)
    assert len(freed(story.tell(NodeLost(N1)))) == 1
    assert story.allocator.ledger.total == Resources()
    assert list(state.refused_until) == []


def test_what_a_desk_says_has_ended_and_runs_all_the_same_is_ended_by_its_engine() -> None:
    story = Story()
    story.node(N1, GPU)
    story.desk(P1)
    (offer,) = story.want(P1, waiting=1)
    story.tell(Accepted(offer.offer_id, GPU), Finished(offer.offer_id))
    runs = Reconciled(N1, frozenset({offer.offer_id}), ())
    assert not [one for one in story.tell(runs) if isinstance(one, Preempt)]  # may be an old word
    (preempt,) = [one for one in story.tell(runs) if isinstance(one, Preempt)]
    assert preempt.offer.offer_id == offer.offer_id
    assert not [one for one in story.tell(Reconciled(N1, NOBODYS, ())) if isinstance(one, Preempt)]
    assert not story.allocator.books.told_ended


def test_what_has_ended_as_its_desk_said_is_forgotten_with_the_next_report() -> None:
    story = Story()
    story.node(N1, GPU)
    story.desk(P1)
    (offer,) = story.want(P1, waiting=1)
    story.tell(Accepted(offer.offer_id, GPU), Finished(offer.offer_id))
    assert story.tell(Reconciled(N1, NOBODYS, ())) == []
    assert not story.allocator.books.told_ended
