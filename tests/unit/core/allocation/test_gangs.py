"""Bundles that must be held at the same time: all of them, or none."""

import pytest

from coordsvc.core.filters import NodeFilter
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskLost,
    Drained,
    Effect,
    Finished,
    GangGivenUp,
    GangRefused,
    Member,
    NodeDraining,
    NodeLost,
    SendOffer,
    Ticked,
    Withdraw,
)
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import MILLISECOND, SECOND, AgentId, DeskId, GangId, Micros, RoleId
from tests.unit.core.stories import (
    G1,
    G2,
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
    member,
    numbers,
    offered,
    refusals,
)


def two_nodes(terms: Terms | None = None) -> Story:
    """Two GPUs, a desk that asks for gangs, and another agent's."""
    story = Story(terms)
    story.node(N1)
    story.node(N2)
    story.desk(P1)
    story.desk(R1, RESPONDER)
    return story


def why_not(effects: list[Effect]) -> str:
    (refusal,) = (effect for effect in effects if isinstance(effect, GangRefused))
    return refusal.why


def test_a_gang_that_fits_is_offered_as_a_whole_across_nodes_and_agents() -> None:
    story = two_nodes()
    effects = story.gang(G1, P1, member(bundle=GPU), member(agent=RESPONDER, bundle=HALF, least=2))
    offers = offered(effects)
    assert [(o.agent, o.desk, o.bundle, o.gang) for o in offers] == [
        (PLANNER, P1, GPU, G1),
        (RESPONDER, P1, HALF, G1),
        (RESPONDER, P1, HALF, G1),
    ]
    assert {offer.node for offer in offers} == {N1, N2}
    tickets = [effect.ticket for effect in effects if isinstance(effect, SendOffer)]
    assert (tickets[0].gang, tickets[0].agent) == (G1, PLANNER)


def test_more_than_the_least_is_given_if_it_is_there() -> None:
    story = two_nodes()
    assert len(offered(story.gang(G1, P1, member(least=2, most=8)))) == 4


def test_what_is_set_aside_is_nobodys_to_speak_of() -> None:
    story = two_nodes()
    held = story.want(R1, waiting=2)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    assert offered(story.gang(G1, P1, member(least=4))) == []
    assert story.free(N1) + story.free(N2) == Resources()
    aside = next(o for o in story.allocator.ledger.offers.values() if o.gang == G1)
    for event in (Accepted(aside.offer_id, HALF), Declined(aside.offer_id)):
        assert refusals(story.tell(event)) != []
    assert "not known to anybody" in refusals(story.tell(Finished(aside.offer_id)))[0]


def test_what_becomes_free_goes_to_the_gang_that_gathers_before_others() -> None:
    story = two_nodes()
    held = story.want(R1, waiting=4)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member(least=2))
    story.want(R1, waiting=4)
    assert offered(story.tell(Finished(held[0].offer_id))) == []
    offers = offered(story.tell(Finished(held[1].offer_id)))
    assert [offer.gang for offer in offers] == [G1, G1]


def test_offers_held_ahead_are_taken_back_for_a_gang_that_gathers() -> None:
    story = two_nodes()
    ahead = story.want(R1, ahead=4)
    effects = story.gang(G1, P1, member(least=2))
    taken = [effect.offer for effect in effects if isinstance(effect, Withdraw)]
    assert [o.offer_id for o in taken] == [ahead[3].offer_id, ahead[2].offer_id]
    assert [o.gang for o in offered(story.never_started(*taken))] == [G1, G1]


def test_gathering_is_bounded_and_then_all_is_given_back_for_a_rest() -> None:
    terms = Terms(gang_hold_us=Micros(500 * MILLISECOND), gang_rest_max_us=Micros(2 * SECOND))
    story = two_nodes(terms)
    held = story.want(R1, waiting=3)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member(least=2))
    assert story.free(N1) + story.free(N2) == Resources()
    story.later(500 * MILLISECOND)
    assert story.allocator.next_expiry() == story.now
    story.tell(Ticked())
    assert story.free(N1) + story.free(N2) == HALF
    assert story.want(R1, waiting=1) != []


def test_a_gang_that_rests_longer_each_time_gathers_again() -> None:
    story = two_nodes(Terms(gang_hold_us=Micros(SECOND), gang_rest_max_us=Micros(3 * SECOND)))
    held = story.want(R1, waiting=3)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member(least=2))
    gathers = []
    for _ in range(12):
        gathers.append(story.free(N1) + story.free(N2) == Resources())
        story.later(SECOND).tell(Ticked())
    assert "".join("x" if each else "." for each in gathers) == "x.x..x...x.."


def test_two_gangs_that_need_the_same_do_not_hold_half_of_it_each() -> None:
    story = two_nodes()
    held = story.want(R1, waiting=4)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.desk(P2)
    story.gang(G1, P1, member(least=3))
    story.gang(G2, P2, member(least=3))
    for offer in held[:2]:
        assert offered(story.tell(Finished(offer.offer_id))) == []
    assert [o.gang for o in offered(story.tell(Finished(held[2].offer_id)))] == [G1, G1, G1]


def test_a_gang_with_too_little_left_does_not_keep_a_smaller_one_waiting() -> None:
    story = two_nodes()
    held = story.want(R1, waiting=3)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member(least=4))
    story.tell(GangGivenUp(G1))
    story.gang(G1, P1, member(bundle=GPU, least=2))
    assert [o.gang for o in offered(story.gang(G2, P1, member(bundle=QUARTER)))] == [G2]


def test_one_declined_member_takes_the_rest_back() -> None:
    story = two_nodes()
    first, second, third = offered(story.gang(G1, P1, member(least=3)))
    effects = story.tell(Declined(second.offer_id))
    taken = [effect.offer.offer_id for effect in effects if isinstance(effect, Withdraw)]
    assert taken == [first.offer_id, third.offer_id]


def test_one_member_s_dead_node_takes_the_rest_back() -> None:
    story = two_nodes()
    offers = offered(story.gang(G1, P1, member(bundle=GPU, least=2)))
    effects = story.tell(NodeLost(N1))
    assert {o.offer.offer_id for o in effects if isinstance(o, Withdraw)} == {
        offer.offer_id for offer in offers
    }


def test_a_gang_asked_for_anew_is_not_broken_up_by_the_end_of_the_one_before() -> None:
    """The engine's answer to the old question comes when the new offers are out."""
    story = two_nodes()
    old = offered(story.gang(G1, P1, member(bundle=HALF, least=2)))
    story.tell(Declined(old[0].offer_id))
    new = offered(story.gang(G1, P1, member(bundle=HALF, least=2)))
    assert len(new) == 2
    effects = story.never_started(old[1])
    assert not [effect for effect in effects if isinstance(effect, Withdraw)]
    assert story.allocator.ledger.issued_to(P1) == tuple(new)


def test_gang_offers_do_not_count_against_the_phases_that_wait_at_the_same_desk() -> None:
    story = two_nodes()
    assert len(offered(story.gang(G1, P1, member(least=2)))) == 2
    assert len(story.want(P1, waiting=1)) == 1


def test_a_started_gang_leaves_the_count_of_waiting_phases_as_it_is() -> None:
    story = two_nodes()
    offers = offered(story.gang(G1, P1, member(least=4)))
    story.want(P1, waiting=1)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in offers))
    assert offered(story.tell(Finished(offers[0].offer_id)))[0].gang is None


def test_one_that_is_asked_for_twice_by_the_same_desk_loses_nothing() -> None:
    """A new allocator may be told in one report, and again because it is new."""
    story = two_nodes()
    held = story.want(R1, waiting=4)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member())
    again = story.gang(G1, P1, member())
    assert ["known already" in why for why in refusals(again)] == [True]
    assert not [effect for effect in again if isinstance(effect, GangRefused)]
    assert [o.gang for o in offered(story.tell(Finished(held[0].offer_id)))] == [G1]


def test_another_desk_may_not_give_a_gang_up_nor_take_its_name() -> None:
    story = two_nodes()
    held = story.want(R1, waiting=4)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member())
    assert refusals(story.tell(GangGivenUp(G1, by=R1))) != []
    assert "known already" in why_not(story.gang(G1, R1, member(agent=RESPONDER)))
    assert list(story.allocator.books.gangs.waiting) == [G1]
    assert refusals(story.tell(GangGivenUp(G1, by=P1))) == []


def test_a_gang_goes_with_the_desk_that_asked_for_it() -> None:
    story = two_nodes()
    held = story.want(R1, waiting=3)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member(least=2))
    story.tell(DeskLost(P1))
    assert story.allocator.books.gangs.waiting == {}
    assert story.free(N1) + story.free(N2) == HALF


def test_a_draining_node_is_given_back_by_the_gang_that_gathers_there() -> None:
    story = two_nodes()
    held = story.want(R1, waiting=3)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    story.gang(G1, P1, member(least=2))
    (aside,) = (o for o in story.allocator.ledger.offers.values() if o.gang == G1)
    running = [o for o in held if o.node == aside.node]
    story.tell(NodeDraining(aside.node, Micros(SECOND)))
    effects = [one for o in running for one in story.tell(Finished(o.offer_id))]
    assert [effect for effect in effects if isinstance(effect, Drained)] == [Drained(aside.node)]


def test_a_member_s_filter_and_limit_hold() -> None:
    limits = {RoleId("responder"): RoleTerms(limit=HALF)}
    story = Story(Terms(roles=limits))
    story.node(N1, zone="a")
    story.node(N2, zone="b")
    story.desk(P1)
    where = NodeFilter.requiring({"zone": "b"})
    (only,) = offered(story.gang(G1, P1, member(agent=RESPONDER, most=2, where=where)))
    assert (only.node, only.agent) == (N2, RESPONDER)


MANY = tuple(member() for _ in range(100))


@pytest.mark.parametrize(
    ("gang", "desk", "members", "why"),
    [
        (G1, P1, (member(least=5),), "the pool has gpu=2000"),
        (G1, P1, (member(bundle=GPU), member(bundle=GPU), member()), "the pool has gpu=2000"),
        (G1, P1, (member(bundle=GPU + HALF),), "the empty pool would hold 0"),
        (G1, P1, (member(bundle=Resources()),), "a bundle of nothing"),
        (G1, P1, (member(least=0),), "1 to 64 may be"),
        (G1, P1, (member(least=-3, most=2),), "at least 1"),
        (G1, P1, (member(least=3, most=2),), "at most the most"),
        (G1, P1, (member(least=10**12),), "1 to 64 may be"),
        (G1, P1, (), "1 to 64 may be"),
        (G1, P1, MANY, "too large"),
        (GangId("g" * 1_000_000), P1, (member(),), "too large"),
        (G1, DeskId("nobody"), (member(),), "has not joined"),
        (G1, P1, (member(agent=AgentId("acme/planner")),), "of another tenant"),
        (G1, P1, (member(where=NodeFilter.requiring({"zone": "nowhere"})),), "would hold 0"),
    ],
)
def test_an_absurd_gang_is_refused_with_a_reason_and_nothing_is_held(
    gang: GangId, desk: DeskId, members: tuple[Member, ...], why: str
) -> None:
    story = two_nodes()
    effects = story.gang(gang, desk, *members)
    assert why in why_not(effects)
    assert story.free(N1) == story.free(N2) == GPU
    assert story.allocator.books.gangs.waiting == {}


def test_one_desk_does_not_take_all_the_places_where_gangs_wait() -> None:
    story = two_nodes(Terms(gangs_max=4, gangs_per_desk_max=3))
    held = story.want(R1, waiting=4)
    story.tell(*(Accepted(offer.offer_id, HALF) for offer in held))
    refused = [bool(refusals(story.gang(GangId(f"x{n}"), P1, member()))) for n in range(5)]
    assert refused == [False, False, False, True, True]
    assert refusals(story.gang(G1, R1, member(agent=RESPONDER))) == []
    assert "4 gangs wait already" in why_not(story.gang(G2, R1, member(agent=RESPONDER)))


def test_where_there_are_no_nodes_yet_a_gang_waits_for_them() -> None:
    story = Story()
    story.desk(P1)
    assert story.gang(G1, P1, member(least=2)) == []
    assert numbers(offered(story.node(N1))) != []
