"""What is told of desks and by them; and that nonsense from one of them hurts nobody else."""

from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.core.learning import LearningTerms
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Finished,
    GangGivenUp,
    GangWanted,
    Held,
    Reconciled,
    Revived,
    Suppressed,
    Void,
    Wanted,
    Withdraw,
)
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, DeskId, GangId, Micros, OfferId, RoleId, TurnId
from tests.unit.core.stories import (
    GPU,
    HALF,
    N1,
    N2,
    P1,
    P2,
    PLANNER,
    QUARTER,
    R1,
    RESPONDER,
    Story,
    a_wait,
    member,
    offered,
    refusals,
)

NOTHING = Resources()


def with_desk(terms: Terms | None = None) -> Story:
    story = Story(terms)
    story.node(N1)
    story.desk(P1)
    return story


# Who may join


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (DeskJoined(P1, PLANNER, HALF), "has joined already"),
        (DeskJoined(P2, PLANNER, NOTHING), "bundles of nothing"),
        (DeskJoined(P2, PLANNER, HALF, GPU), "at least gpu=1000, and at most gpu=500"),
        (DeskJoined(P2, PLANNER, GPU + HALF), "the largest that fits any node is gpu=1000"),
        (
            DeskJoined(P2, PLANNER, Resources(gpu_milli=500, cpu_milli=9)),
            "the largest that fits any node is gpu=500",
        ),
        (DeskJoined(DeskId("x" * 1_000_000), PLANNER, HALF), "1000000 characters"),
        (Wanted(P2, 1, 0), "has not joined"),
        (Wanted(P1, -1, 0), "wants -1"),
        (Wanted(P1, 0, -1), "and -1"),
        (DeskLost(P2), "has not joined"),
        (Suppressed(P2), "has not joined"),
        (Revived(P2), "has not joined"),
        (Held(P2, frozenset()), "has not joined"),
        (GangGivenUp(GangId("g")), "does not wait"),
        (Accepted(OfferId(1), HALF), "holds nothing here"),
        (Declined(OfferId(1)), "holds nothing here"),
        (Finished(OfferId(1)), "holds nothing here"),
        (cast("Event", "a word"), "str is nothing that is told"),
        (cast("Event", None), "NoneType is nothing that is told"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(event: Event, why: str) -> None:
    story = with_desk()
    (said,) = refusals(story.tell(event))
    assert why in said
    assert list(story.allocator.desks) == [P1]


def test_one_that_takes_less_may_join_where_the_whole_fits_nowhere() -> None:
    story = with_desk()
    assert refusals(story.desk(P2, bundle=GPU + GPU, least=HALF)) == []
    assert [offer.bundle for offer in story.want(P2, waiting=1)] == [GPU]


def test_what_is_reserved_for_others_is_not_what_fits() -> None:
    story = Story()
    story.node(N1, HALF)
    story.node(N2, GPU, reserved={RoleId("responder"): GPU})
    assert "fits any node is gpu=500" in refusals(story.desk(P1, bundle=GPU))[0]
    assert refusals(story.desk(R1, RESPONDER, GPU)) == []


def test_desks_are_bounded() -> None:
    story = with_desk(Terms(desks_max=1))
    assert refusals(story.desk(P2)) == ["ProtocolError: desks_max is 1, and reached"]
    assert story.allocator.limits_met["desks_max"] == 1


# What they want


def test_more_than_may_be_held_changes_nothing_and_is_counted() -> None:
    story = with_desk(Terms(offers_per_desk_max=1))
    assert len(story.want(P1, waiting=10**30)) == 1
    assert story.allocator.limits_met["offers_per_desk_max"] == 1


def test_of_too_many_phases_the_first_are_heard_of() -> None:
    story = with_desk(Terms(waits_per_desk_max=2))
    story.want(P1, 3, 0, "a", "b", "c")
    assert set(story.allocator.desks[P1].waits) == {"a", "b"}
    assert story.allocator.limits_met["waits_per_desk_max"] == 1


def test_a_turn_with_a_name_of_a_megabyte_is_not_heard_of_and_still_served() -> None:
    story = with_desk()
    long = a_wait("x" * 1_000_000)
    prefix = replace(a_wait("t2"), prefix="x" * 1_000_000)
    effects = story.tell(Wanted(P1, 3, 0, (long, prefix, a_wait("t3"))))
    assert [offer.meant_for for offer in offered(effects)] == ["t3", None]
    assert story.allocator.limits_met["name_chars_max"] == 1


def test_an_offer_is_meant_for_the_phase_that_it_is_made_for() -> None:
    story = with_desk()
    assert [o.meant_for for o in story.want(P1, 2, 0, "t1", "t2")] == ["t1", "t2"]


def test_an_offer_near_a_phases_conversation_is_preferred() -> None:
    story = with_desk()
    story.node(N2, HALF)
    near = a_wait("t1", near=N2)
    assert [o.node for o in offered(story.tell(Wanted(P1, 1, 0, (near,))))] == [N2]


def test_a_suppressed_desk_is_offered_nothing_until_it_revives() -> None:
    story = with_desk()
    story.tell(Suppressed(P1))
    assert story.want(P1, waiting=2) == []
    assert len(offered(story.tell(Revived(P1)))) == 2


def test_who_revives_refuses_no_node_any_more() -> None:
    story = with_desk()
    (offer,) = story.want(P1, waiting=1)
    assert offered(story.tell(Declined(offer.offer_id, Micros(9_000_000)))) == []
    assert len(offered(story.tell(Revived(P1)))) == 1


def test_what_a_desk_does_not_know_it_was_offered_is_taken_back() -> None:
    """Its reply was lost."""
    story = with_desk()
    known, unknown = story.want(P1, waiting=2)
    effects = story.tell(Held(P1, frozenset({known.offer_id})))
    assert [type(effect) for effect in effects] == [Withdraw, Void]
    assert story.allocator.ledger.issued_to(P1) == (known,)
    assert len(offered(story.never_started(unknown))) == 1


# What they say of their offers


def test_only_the_desk_that_holds_an_offer_may_speak_of_it() -> None:
    story = with_desk()
    (offer,) = story.want(P1, waiting=1)
    for lie in (
        Accepted(offer.offer_id, HALF, by=P2),
        Declined(offer.offer_id, by=P2),
        Finished(offer.offer_id, by=P2),
    ):
        assert "is not desk p2's to speak of" in refusals(story.tell(lie))[0]
    assert story.allocator.ledger.issued_to(P1) == (offer,)
    assert refusals(story.tell(Accepted(offer.offer_id, HALF, by=P1))) == []
    assert len(refusals(story.tell(Finished(offer.offer_id, by=P2)))) == 1
    assert refusals(story.tell(Finished(offer.offer_id, by=P1))) == []


def test_an_acceptance_of_nothing_or_of_more_is_refused_and_the_offer_stands() -> None:
    story = with_desk()
    (offer,) = story.want(P1, waiting=1)
    for used in (NOTHING, GPU):
        assert len(refusals(story.tell(Accepted(offer.offer_id, used)))) == 1
    assert story.allocator.ledger.issued_to(P1) == (offer,)


def test_a_lost_desks_offers_are_voided_and_it_is_told_nothing() -> None:
    story = with_desk()
    story.want(P1, waiting=2)
    assert [type(effect) for effect in story.tell(DeskLost(P1))] == [Void, Void]


# One floods, the other works


NAMES = st.sampled_from(["", "p1", "w1", "f1", "f2", "x" * 2_000, "a//b", "a/" * 50])
OFFERS = st.integers(1, 9).map(lambda n: OfferId((1 << 40) + n))
AMOUNTS = st.sampled_from([NOTHING, QUARTER, HALF, GPU, Resources(gpu_milli=10**18)])
COUNTS = st.sampled_from([-1, 0, 1, 7, 300, 10**18])
TIMES = st.sampled_from([-1, 0, 10**6, 10**18]).map(Micros)
WAITS = st.builds(
    lambda turn, us: replace(a_wait("t"), turn=TurnId(turn), waited_us=us, turn_us=us),
    NAMES,
    TIMES,
)
F1, W1 = DeskId("f1"), DeskId("w1")
FLOODER, WORKER = AgentId("flooder"), AgentId("worker")
NONSENSE = st.one_of(
    st.builds(DeskJoined, NAMES.map(DeskId), st.just(FLOODER), AMOUNTS),
    st.builds(Wanted, st.just(F1), COUNTS, COUNTS, st.lists(WAITS, max_size=3).map(tuple)),
    st.builds(Accepted, OFFERS, AMOUNTS, TIMES, st.just(F1)),
    st.builds(Declined, OFFERS, TIMES, st.just(F1)),
    st.builds(Finished, OFFERS, TIMES, st.booleans(), st.just(F1)),
    st.builds(Suppressed, st.just(F1)),
    st.builds(Revived, st.just(F1)),
    st.builds(Held, st.just(F1), st.frozensets(OFFERS, max_size=3)),
    st.builds(
        GangWanted,
        st.sampled_from([GangId("g1"), GangId("g2")]),
        st.just(F1),
        st.lists(
            st.builds(
                lambda bundle, n, m: member(n, m, agent=FLOODER, bundle=bundle),
                AMOUNTS,
                COUNTS,
                COUNTS,
            ),
            max_size=2,
        ).map(tuple),
    ),
    st.builds(GangGivenUp, st.sampled_from([GangId("g1"), GangId("g2")]), st.just(F1)),
    st.builds(DeskLost, st.just(F1)),
    st.just(cast("Event", "nonsense")),
)


def work(flood: list[list[Event]]) -> list[int]:
    """Return what each of the worker's steps got it, with a flooder between them.

    The worker never needs more than half of the pool, its fair share. The engines answer, and
    see nothing of what the flooder says it runs.
    """
    story = Story(Terms(offer_lasts_us=Micros(2_000_000), declines_per_second_max=4))
    for node in (N1, N2):
        story.node(node)
    story.desk(W1, WORKER)
    story.desk(F1, FLOODER)
    got: list[int] = []
    running: list[OfferId] = []
    for nonsense in flood:
        for event in nonsense:
            answer(story, event)
        answer(story, Wanted(W1, 2, 0))
        waited = 0
        while len(held := story.allocator.ledger.issued_to(W1)) < 2:
            waited += 1
            assert waited < 20, "the worker is starved"
            story.later(1_000_000)
            for node in (N1, N2):
                seen = frozenset(running)
                answer(story, Reconciled(node, seen, ()))
        got.append(len(held))
        for step in (Accepted, Finished):
            for event in nonsense:  # lies about what the worker holds and runs, too
                answer(story, event)
            for offer in held:
                said = Accepted(offer.offer_id, HALF, by=W1)
                done = Finished(offer.offer_id, by=W1)
                assert refusals(answer(story, said if step is Accepted else done)) == []
            running = [offer.offer_id for offer in held] if step is Accepted else []
    return got


def answer(story: Story, event: Event) -> list[Effect]:
    """Tell of an event, and have the engines answer what they are asked because of it."""
    effects = first = story.tell(event)
    while asked := [effect.offer for effect in effects if isinstance(effect, Void)]:
        effects = [one for offer in asked for one in story.never_started(offer)]
    return first


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NONSENSE, max_size=8), min_size=1, max_size=4))
def test_nonsense_from_one_desk_keeps_no_other_from_its_fair_share(
    flood: list[list[Event]],
) -> None:
    """With it or without it, each time the worker gets both of the offers that it needs."""
    assert work(flood) == work([[] for _ in flood])


def test_a_policy_that_learns_is_told_which_phase_has_ended() -> None:
    learns = PolicyTerms(name="utility", learning=LearningTerms())
    story = Story(Terms(policy=learns, name_chars_max=64))
    story.node(N1)
    story.desk(P1)
    for phase in ("respond", "revise", "x" * 1_000_000):
        (offer,) = story.want(P1, 1)
        story.tell(Wanted(P1, 0, 0), Accepted(offer.offer_id, HALF))
        story.later(5_000_000).tell(Finished(offer.offer_id, phase=phase))
    utilities = story.allocator.policy.utilities
    (student,) = utilities.students.values()
    assert {phase: sums.count for phase, sums in student.window().items()} == {
        "": 1,
        "respond": 1,
        "revise": 1,
    }
    assert story.allocator.limits_met["name_chars_max"] == 1
