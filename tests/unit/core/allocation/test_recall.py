"""What is taken back: loans of a guarantee, and all that is on a node which drains."""

import pytest

from coordsvc.core.messages import (
    Accepted,
    AskBack,
    Drained,
    Effect,
    Event,
    Finished,
    NodeDraining,
    NodeReopened,
    Preempt,
    Suppressed,
    Ticked,
    Void,
    Wanted,
    Withdraw,
)
from coordsvc.core.offers import Offer
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, Micros, NodeId, RoleId
from tests.unit.core.stories import (
    GPU,
    HALF,
    N1,
    N2,
    P1,
    P2,
    R1,
    RESPONDER,
    Story,
    offered,
    refusals,
)

GUARANTEED = Terms(
    roles={RoleId("responder"): RoleTerms(guarantee=HALF)}, ask_back_us=Micros(2 * SECOND)
)


def asked_back(effects: list[Effect]) -> list[Offer]:
    return [effect.offer for effect in effects if isinstance(effect, AskBack)]


def preempted(effects: list[Effect]) -> list[Offer]:
    return [effect.offer for effect in effects if isinstance(effect, Preempt)]


def lent(terms: Terms = GUARANTEED) -> tuple[Story, list[Offer]]:
    """The planner runs on all there is, half of it lent to it; the responder has just come."""
    story = Story(terms)
    story.node(N1)
    story.desk(P1)
    running = story.want(P1, waiting=2)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in running))
    story.desk(R1, RESPONDER)
    return story, running


def test_what_is_lent_is_known_by_its_ticket() -> None:
    _, running = lent()
    assert [offer.revocable for offer in running] == [False, True]


def test_a_loan_is_asked_back_when_its_owner_waits_and_preempted_when_the_time_is_over() -> None:
    story, running = lent()
    effects = story.tell(Wanted(R1, 1, 0))
    assert effects == [AskBack(story.allocator.ledger.find(running[1].offer_id), 2 * SECOND)]
    assert preempted(story.later(2 * SECOND - 1).tell(Ticked())) == []
    assert story.allocator.next_expiry() == story.now + 1
    (ended,) = preempted(story.later(1).tell(Ticked()))
    assert ended.offer_id == running[1].offer_id
    assert [o.agent for o in offered(story.tell(Finished(ended.offer_id)))] == [RESPONDER]


def test_a_loan_given_back_in_time_is_not_preempted() -> None:
    story, running = lent()
    story.want(R1, waiting=1)
    assert len(offered(story.tell(Finished(running[1].offer_id)))) == 1
    assert preempted(story.later(9 * SECOND).tell(Ticked())) == []


def test_what_still_runs_is_preempted_again_for_the_first_word_may_be_lost() -> None:
    story, _ = lent()
    story.want(R1, waiting=1)
    assert [len(preempted(story.later(2 * SECOND).tell(Ticked()))) for _ in range(3)] == [1, 1, 1]


def test_a_loan_is_asked_back_once() -> None:
    story, _ = lent()
    asked = [asked_back(story.tell(Wanted(R1, 1, 0))) for _ in range(3)]
    assert [len(each) for each in asked] == [1, 0, 0]


def test_no_more_is_asked_back_than_the_guarantee_covers() -> None:
    story = Story(GUARANTEED)
    story.node(N1, GPU + GPU)
    story.desk(P1)
    running = story.want(P1, waiting=4)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in running))
    story.desk(R1, RESPONDER)
    assert len(asked_back(story.tell(Wanted(R1, 50, 0)))) == 1


def test_what_is_held_ahead_is_no_need() -> None:
    story, _ = lent()
    assert story.tell(Wanted(R1, 0, 5)) == []


def test_a_desk_that_has_silenced_itself_gets_nothing_back() -> None:
    story, _ = lent()
    story.tell(Suppressed(R1))
    assert story.tell(Wanted(R1, 1, 0)) == []


def test_nobody_is_taken_below_a_guarantee_of_its_own() -> None:
    """Two of its loans could each be spared, but not both."""
    terms = Terms(
        roles={
            RoleId("planner"): RoleTerms(guarantee=HALF),
            RoleId("responder"): RoleTerms(guarantee=GPU),
        }
    )
    story = Story(terms)
    story.node(N1, GPU + HALF)
    story.desk(P1)
    running = story.want(P1, waiting=3)
    assert [offer.revocable for offer in running] == [False, True, True]
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in running))
    story.tell(Finished(running[0].offer_id))
    story.desk(R1, RESPONDER)
    effects = story.tell(Wanted(R1, 3, 0))
    assert len(offered(effects)) == 1
    assert len(asked_back(effects)) == 1


def test_somebody_who_waits_in_vain_elsewhere_costs_nobody_what_is_held_ahead() -> None:
    """Nine silenced phases beside one that waits: one offer is taken back, not ten."""
    story = Story()
    story.node(N1, GPU + GPU)
    story.desk(P1)
    ahead = story.want(P1, ahead=4)
    story.desk(P2)
    story.tell(Suppressed(P2))
    story.want(P2, waiting=9)
    story.desk(R1, RESPONDER)
    effects = story.tell(Wanted(R1, 1, 0))
    taken = [effect.offer for effect in effects if isinstance(effect, Withdraw)]
    assert taken == [ahead[3]]


# Draining


def on_two_nodes() -> tuple[Story, Offer, Offer]:
    """The planner runs one phase on the first of two nodes, and holds an offer there."""
    story = Story()
    story.node(N1)
    story.desk(P1)
    started, held = story.want(P1, waiting=1, ahead=1)
    story.tell(Accepted(started.offer_id, HALF))
    story.node(N2)
    return story, started, held


def test_a_draining_node_is_offered_no_more_and_what_is_there_is_taken_or_asked_back() -> None:
    story, started, held = on_two_nodes()
    effects = story.tell(NodeDraining(N1, Micros(5 * SECOND)))
    assert [type(effect) for effect in effects[:3]] == [Withdraw, Void, AskBack]
    assert [o.offer_id for o in asked_back(effects)] == [started.offer_id]
    story.never_started(held)
    assert {offer.node for offer in story.want(P1, waiting=4)} == {N2}


def test_it_is_drained_when_the_last_has_ended() -> None:
    story, started, held = on_two_nodes()
    story.tell(NodeDraining(N1, Micros(5 * SECOND)))
    assert Drained(N1) not in story.never_started(held)
    assert Drained(N1) in story.tell(Finished(started.offer_id))


def test_an_empty_node_is_drained_at_once() -> None:
    story = Story()
    story.node(N1)
    assert story.tell(NodeDraining(N1, Micros(0))) == [Drained(N1)]


@pytest.mark.parametrize("preempt", [False, True])
def test_what_runs_there_is_ended_in_the_end_only_if_that_was_asked_for(preempt: bool) -> None:
    story, started, _ = on_two_nodes()
    story.tell(NodeDraining(N1, Micros(5 * SECOND), preempt))
    ended = preempted(story.later(5 * SECOND).tell(Ticked()))
    assert [o.offer_id for o in ended] == ([started.offer_id] if preempt else [])


def test_what_starts_while_it_is_taken_back_is_asked_back_at_once() -> None:
    story, _, held = on_two_nodes()
    story.tell(NodeDraining(N1, Micros(5 * SECOND), preempt=True))
    (asked,) = asked_back(story.tell(Accepted(held.offer_id, HALF)))
    assert asked.offer_id == held.offer_id
    assert held.offer_id in {o.offer_id for o in preempted(story.later(9 * SECOND).tell(Ticked()))}


def test_a_node_that_guarantees_need_is_not_drained_unless_phases_may_be_ended() -> None:
    story = Story(Terms(roles={RoleId("responder"): RoleTerms(guarantee=GPU)}))
    story.node(N1)
    story.node(N2)
    assert refusals(story.tell(NodeDraining(N1, Micros(0)))) == []
    (why,) = refusals(story.tell(NodeDraining(N2, Micros(0))))
    assert "guarantees need gpu=1000" in why
    assert refusals(story.tell(NodeDraining(N2, Micros(0), preempt=True))) == []


def test_a_reopened_node_is_offered_again_and_nothing_there_is_ended() -> None:
    story, _, held = on_two_nodes()
    story.tell(NodeDraining(N1, Micros(5 * SECOND), preempt=True))
    story.never_started(held)
    story.want(P1, waiting=3)
    assert {offer.node for offer in offered(story.tell(NodeReopened(N1)))} == {N1}
    assert preempted(story.later(9 * SECOND).tell(Ticked())) == []


@pytest.mark.parametrize(
    "event",
    [NodeDraining(NodeId("nowhere"), Micros(0)), NodeReopened(N1), NodeReopened(NodeId("x"))],
)
def test_what_does_not_drain_is_not_reopened_and_what_is_not_here_does_not_drain(
    event: Event,
) -> None:
    story = Story()
    story.node(N1)
    assert len(refusals(story.tell(event))) == 1
    story.desk(P1)
    assert len(story.want(P1, waiting=5)) == 2
    assert story.free() == Resources()
