"""A desk: offers in hand ahead of need, and what it does while the allocator is silent."""

from dataclasses import replace

from coordsvc.core.desk import Desk
from coordsvc.core.exchange import DeskReply
from coordsvc.core.filters import NodeFilter
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskEvent,
    Finished,
    GangGivenUp,
    GangWanted,
    Member,
)
from coordsvc.core.offers import Grant, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.terms import DeskTerms
from coordsvc.core.units import (
    MILLISECOND,
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    TurnId,
)

N1, N2 = NodeId("n1"), NodeId("n2")
GPU, HALF = Resources(gpu_milli=1_000), Resources(gpu_milli=500)
FIRST, SECOND_LIFE = Epoch("run", 1), Epoch("run", 2)
START = Instant(1_000_000)
LASTS = Micros(10 * SECOND)


def at(micros: int) -> Instant:
    return Instant(START + micros)


def ticket(
    number: int, *, node: NodeId = N1, epoch: Epoch = FIRST, bundle: Resources = HALF
) -> Ticket:
    return Ticket(epoch=epoch, offer_id=OfferId(number), node=node, bundle=bundle, lasts=LASTS)


def a_desk(terms: DeskTerms | None = None, **requires: str) -> Desk:
    where = NodeFilter.requiring(requires)
    return Desk(DeskId("p1"), AgentId("planner"), HALF, terms or DeskTerms(), where)


def hear(
    desk: Desk, *tickets: Ticket, epoch: Epoch = FIRST, withdrawn: tuple[int, ...] = ()
) -> None:
    reply = DeskReply(
        epoch=epoch, offers=tickets, withdrawn=tuple(OfferId(number) for number in withdrawn)
    )
    desk.heard(START, at(1_000), reply, waited=False)


def with_offers(*numbers: int, node: NodeId = N1) -> Desk:
    desk = a_desk(DeskTerms(ahead_min=8))
    hear(desk, *(ticket(number, node=node) for number in numbers))
    return desk


def take(desk: Desk, now: Instant = START, prefer: NodeId | None = None) -> Grant:
    grant = desk.take(now, HALF, prefer)
    assert grant is not None
    return grant


def said(desk: Desk, now: Instant = START) -> tuple[DeskEvent | GangWanted | GangGivenUp, ...]:
    return desk.report(now).events


def in_hand(desk: Desk) -> list[int]:
    return [held.grant.offer_id for held in desk.held]


# Taking


def test_a_phase_starts_at_once_and_its_acceptance_travels_beside() -> None:
    desk = with_offers(1, 2)
    grant = take(desk)
    assert (grant.offer_id, grant.use, grant.bundle, grant.epoch) == (1, 1, HALF, FIRST)
    assert said(desk) == (Accepted(OfferId(1), HALF),)
    assert in_hand(desk) == [2]


def test_an_empty_desk_has_nothing_to_give() -> None:
    assert a_desk().take(START, HALF) is None


def test_the_oldest_offer_goes_first_unless_one_on_the_preferred_node_is_in_hand() -> None:
    desk = with_offers(1)
    hear(desk, ticket(2, node=N2), ticket(3, node=N2))
    assert take(desk, prefer=N2).offer_id == 2
    assert take(desk, prefer=NodeId("n9")).offer_id == 1
    assert take(desk).offer_id == 3


def test_a_phase_that_needs_less_says_so() -> None:
    desk = with_offers(1)
    small = Resources(gpu_milli=100)
    grant = desk.take(START, small)
    assert grant is not None
    assert grant.bundle == small
    assert said(desk) == (Accepted(OfferId(1), small),)


def test_a_phase_that_needs_more_than_any_offer_waits() -> None:
    desk = with_offers(1)
    assert desk.take(START, GPU) is None
    assert in_hand(desk) == [1]


# What is told


def test_a_release_supersedes_the_acceptance_that_was_not_told_yet() -> None:
    desk = with_offers(1)
    desk.finished(START, take(desk))
    assert said(desk) == (Finished(OfferId(1)),)


def test_what_was_told_is_not_told_again() -> None:
    desk = with_offers(1)
    grant = take(desk)
    assert said(desk) == (Accepted(OfferId(1), HALF),)
    desk.finished(START, grant)
    assert said(desk) == (Finished(OfferId(1)),)
    assert said(desk) == ()


def test_an_end_heard_twice_is_told_once() -> None:
    desk = with_offers(1)
    grant = take(desk)
    desk.finished(START, grant)
    desk.finished(START, grant)
    assert said(desk) == (Finished(OfferId(1)),)
    desk.finished(START, grant)
    assert said(desk) == ()


def test_an_offer_that_ran_out_unused_is_given_back() -> None:
    desk = with_offers(1)
    assert desk.take(at(LASTS), HALF) is None
    assert said(desk, at(LASTS)) == (Declined(OfferId(1)),)


def test_an_offer_counts_from_when_the_exchange_that_brought_it_left() -> None:
    """So that it never outlives the allocator's own count, however slow the answer was."""
    desk = a_desk()
    desk.heard(START, at(4 * SECOND), DeskReply(epoch=FIRST, offers=(ticket(1),)), waited=True)
    assert desk.take(at(LASTS), HALF) is None


def test_a_withdrawn_offer_is_gone() -> None:
    desk = with_offers(1, 2)
    hear(desk, withdrawn=(1,))
    assert in_hand(desk) == [2]
    assert said(desk) == ()


def test_an_offer_that_does_not_fit_is_declined() -> None:
    desk = a_desk(model="large")
    hear(desk, ticket(1))
    assert said(desk) == (Declined(OfferId(1), Micros(60 * SECOND)),)


def test_more_than_the_desk_wants_to_hold_is_declined_without_a_filter() -> None:
    desk = a_desk(DeskTerms(ahead_min=1))
    hear(desk, ticket(1), ticket(2))
    assert in_hand(desk) == [1]
    assert said(desk) == (Declined(OfferId(2)),)


def test_a_grant_of_unknown_fate_is_left_to_the_engines_word() -> None:
    desk = with_offers(1)
    grant = take(desk)
    said(desk)
    desk.uncertain(grant)
    desk.finished(START, grant)
    assert said(desk) == ()


def test_unsaid_news_is_bounded_and_the_oldest_is_left_to_the_engines() -> None:
    desk = a_desk(DeskTerms(ahead_min=8, unsaid_max=2))
    hear(desk, *(ticket(number) for number in (1, 2, 3)))
    for _ in range(3):
        desk.finished(START, take(desk))
    desk.fell_silent()  # the forgotten one must not come back into use
    assert in_hand(desk) == [2, 3]


# Silence


def test_in_silence_a_finished_grant_is_used_again_with_a_rising_use() -> None:
    desk = with_offers(1)
    desk.fell_silent()
    first = take(desk)
    desk.finished(START, first)
    again = take(desk)
    assert (again.offer_id, first.use, again.use) == (1, 1, 2)
    desk.finished(START, again)
    assert take(desk).use == 3


def test_a_release_that_nobody_was_told_of_is_kept_when_the_allocator_falls_silent() -> None:
    desk = with_offers(1, 2)
    told, untold = take(desk), take(desk)
    desk.finished(START, told)
    said(desk)
    desk.finished(START, untold)
    desk.fell_silent()
    assert in_hand(desk) == [2]  # what was told may be somebody's by now
    assert said(desk) == ()


def test_falling_silent_twice_is_falling_silent_once() -> None:
    desk = with_offers(1)
    desk.finished(START, take(desk))
    desk.fell_silent()
    desk.fell_silent()
    assert in_hand(desk) == [1]


def test_in_silence_nothing_lapses_and_the_engines_decide() -> None:
    desk = with_offers(1)
    desk.fell_silent()
    assert take(desk, at(100 * SECOND)).offer_id == 1


def test_when_the_allocator_speaks_again_resting_grants_are_released() -> None:
    desk = with_offers(1, 2)
    desk.fell_silent()
    desk.finished(START, take(desk))
    hear(desk)
    assert in_hand(desk) == [2]
    assert said(desk) == (Finished(OfferId(1)),)


def test_a_grant_that_runs_through_the_silence_is_released_when_it_ends() -> None:
    desk = with_offers(1)
    desk.fell_silent()
    desk.finished(START, take(desk))
    again = take(desk)
    hear(desk)
    said(desk)
    desk.finished(START, again)
    assert said(desk) == (Finished(OfferId(1)),)


def test_a_grant_is_not_used_again_for_more_than_was_accepted() -> None:
    """The rest of the bundle went back to the pool with the acceptance: it is somebody else's."""
    desk = with_offers(1)
    small = Resources(gpu_milli=100)
    grant = desk.take(START, small)
    assert grant is not None
    desk.fell_silent()
    desk.finished(START, grant)
    assert desk.take(START, HALF) is None
    assert desk.take(START, small) is not None


# Nodes and epochs


def test_a_dead_node_takes_its_offers_along() -> None:
    desk = with_offers(1, 2)
    hear(desk, ticket(3, node=N2))
    running = take(desk)
    assert desk.node_lost(N1) == 1
    assert in_hand(desk) == [3]
    desk.finished(START, running)
    assert said(desk) == (Accepted(OfferId(1), HALF),)  # and no release: there is none to tell


def test_a_grant_that_rests_on_a_dead_node_does_not_come_back_in_silence() -> None:
    desk = with_offers(1)
    desk.finished(START, take(desk))
    desk.node_lost(N1)
    desk.fell_silent()
    assert in_hand(desk) == []


def test_offers_of_the_old_epoch_go_on_until_the_nodes_new_ones_arrive() -> None:
    desk = with_offers(1)
    hear(desk, ticket(2, node=N2))
    hear(desk, ticket(11, epoch=SECOND_LIFE), epoch=SECOND_LIFE)
    assert in_hand(desk) == [2, 11]
    assert take(desk, at(100 * SECOND), prefer=N2).offer_id == 2  # the old count means nothing now


def test_offers_of_a_superseded_allocator_are_ignored() -> None:
    desk = a_desk()
    hear(desk, epoch=SECOND_LIFE)
    hear(desk, ticket(1), epoch=FIRST)
    assert in_hand(desk) == []
    assert said(desk) == ()


def test_a_node_that_obeys_a_later_epoch_takes_the_old_offers_along() -> None:
    desk = with_offers(1, 2)
    hear(desk, ticket(3, node=N2))
    desk.epoch_fenced(N1, FIRST)
    assert in_hand(desk) == [3]


def test_a_new_epoch_is_told_of_the_waiting_phases_again() -> None:
    desk = a_desk()
    desk.waiting = 1
    desk.report(START)
    assert desk.report_due(START) is None
    hear(desk, epoch=SECOND_LIFE)
    assert desk.report_due(START) == START


# How much to hold, and when to tell


def test_what_is_held_ahead_follows_the_rate_and_is_bounded() -> None:
    terms = DeskTerms(ahead_min=2, ahead_max=20)
    idle, busy, flooded = (a_desk(terms) for _ in range(3))
    for desk, per_s in ((busy, 10), (flooded, 5_000)):
        for i in range(2 * per_s):
            desk.arrived(at(i * SECOND // per_s))
    now = at(2 * SECOND)
    assert idle.ahead(now) == 2
    assert 2 < busy.ahead(now) < 20
    assert flooded.ahead(now) == 20


def test_a_slow_round_trip_makes_the_desk_hold_more() -> None:
    near, far = a_desk(), a_desk()
    for desk, round_trip in ((near, 1), (far, 400)):
        for i in range(100):
            desk.arrived(at(i * 10 * MILLISECOND))
            sent, now = at(i * 10 * MILLISECOND), at((i * 10 + round_trip) * MILLISECOND)
            desk.heard(sent, now, DeskReply(epoch=FIRST), waited=False)
    assert far.ahead(at(SECOND)) > near.ahead(at(SECOND))


def test_a_long_poll_says_nothing_about_the_round_trip() -> None:
    desk = a_desk()
    desk.arrived(START)
    before = desk.ahead(START)
    for _ in range(20):
        desk.heard(START, at(2 * SECOND), DeskReply(epoch=FIRST), waited=True)
    assert desk.ahead(START) == before


def test_an_idle_desk_suppresses_and_the_next_phase_revives_it() -> None:
    desk = a_desk(DeskTerms(ahead_min=2))
    desk.arrived(START)
    assert desk.report(at(60 * SECOND)).ahead == 2
    assert desk.report(at(60 * SECOND + 1)).ahead == 0
    desk.arrived(at(90 * SECOND))
    assert desk.report(at(90 * SECOND)).ahead == 2


def test_a_desk_that_never_saw_a_phase_suppresses_too() -> None:
    """Idleness counts from the first report: a replica too many must not hold offers for ever."""
    desk = a_desk(DeskTerms(ahead_min=2))
    assert desk.report(START).ahead == 2
    assert desk.report(at(60 * SECOND)).ahead == 2
    assert desk.report(at(60 * SECOND + 1)).ahead == 0


# Offers that are meant for somebody, or near something


def hear_gang(desk: Desk, *numbers: int, gang: str = "g1") -> None:
    """Hear of a whole gang, one bundle on each of two nodes, the second for a responder."""
    tickets = (
        replace(
            ticket(number, node=node),
            gang=GangId(gang),
            agent=AgentId(agent),
        )
        for number, node, agent in zip(numbers, (N1, N2), ("planner", "responder"), strict=True)
    )
    hear(desk, *tickets)


MEMBERS = (
    Member(agent=AgentId("planner"), bundle=HALF),
    Member(agent=AgentId("responder"), bundle=HALF),
)
GANG = GangId("g1")
ASKS = GangWanted(GANG, DeskId("p1"), MEMBERS)


def with_gang_wanted(*also: Ticket) -> Desk:
    desk = a_desk(DeskTerms(ahead_min=8))
    hear(desk, *also)
    desk.ask_gang(START, GANG, MEMBERS)
    assert desk.report_due(START) == START
    assert ASKS in desk.report(START).events
    return desk


def test_an_offer_meant_for_the_turn_goes_before_older_ones_and_nearer_ones() -> None:
    desk = a_desk(DeskTerms(ahead_min=8))
    meant = replace(ticket(3, node=N2), meant_for=TurnId("t1"))
    hear(desk, ticket(1), ticket(2), meant)
    assert desk.meant_in_hand() == ("t1",)
    desk.waiting = 1
    grant = desk.take(START, HALF, N1, turn=TurnId("t1"))
    assert grant is not None
    assert grant.offer_id == 3
    assert desk.meant_in_hand() == ()


def test_a_prefix_that_is_cached_counts_where_no_node_is_preferred() -> None:
    desk = a_desk(DeskTerms(ahead_min=8))
    hear(desk, ticket(1), replace(ticket(2, node=N2), cached=frozenset({"dialogue"})))
    grant = desk.take(START, HALF, prefix="dialogue")
    assert grant is not None
    assert grant.offer_id == 2


def test_a_desk_knows_whether_anything_in_hand_is_near() -> None:
    desk = a_desk(DeskTerms(ahead_min=8))
    hear(desk, replace(ticket(1), cached=frozenset({"dialogue"})))
    assert desk.has_near(None, "")
    assert desk.has_near(N1, "")
    assert desk.has_near(N2, "dialogue")
    assert not desk.has_near(N2, "another")


# Gangs


def test_a_gang_in_hand_is_taken_whole_for_whom_it_is() -> None:
    desk = with_gang_wanted()
    assert desk.take_gang(START, GANG) is None
    hear_gang(desk, 1, 2)
    grants = desk.take_gang(START, GANG)
    assert grants is not None
    assert [(g.offer_id, g.agent, g.use) for g in grants] == [
        (1, "planner", 1),
        (2, "responder", 1),
    ]
    assert said(desk) == (Accepted(OfferId(1), HALF), Accepted(OfferId(2), HALF))
    assert desk.take_gang(START, GANG) is None


def test_a_gangs_offers_are_not_for_other_phases() -> None:
    desk = with_gang_wanted()
    hear_gang(desk, 1, 2)
    assert desk.take(START, HALF) is None


def test_when_one_of_a_gang_is_withdrawn_the_rest_is_given_back_and_all_asked_for_anew() -> None:
    desk = with_gang_wanted()
    hear_gang(desk, 1, 2)
    hear(desk, withdrawn=(2,))
    assert said(desk) == (Declined(OfferId(1)), ASKS)


def test_when_one_of_its_nodes_dies_the_rest_is_given_back_and_all_asked_for_anew() -> None:
    desk = with_gang_wanted()
    hear_gang(desk, 1, 2)
    desk.node_lost(N1)
    assert said(desk) == (Declined(OfferId(2)), ASKS)


def test_a_gang_that_has_run_out_is_given_back_and_asked_for_anew() -> None:
    desk = with_gang_wanted()
    hear_gang(desk, 1, 2)
    late = at(LASTS)
    assert desk.take_gang(late, GANG) is None
    assert said(desk, late) == (Declined(OfferId(1)), Declined(OfferId(2)), ASKS)


def test_a_gang_whose_offers_never_came_is_asked_for_anew_when_they_are_withdrawn() -> None:
    desk = with_gang_wanted()
    hear(desk, withdrawn=(1, 2))
    assert said(desk) == (ASKS,)


def test_a_new_epoch_is_asked_again() -> None:
    desk = with_gang_wanted(ticket(9))
    hear(desk, epoch=SECOND_LIFE)
    assert said(desk) == (ASKS,)


def test_an_allocator_that_speaks_again_is_asked_again() -> None:
    desk = with_gang_wanted()
    desk.fell_silent()
    hear(desk)
    assert said(desk) == (ASKS,)


def test_a_gang_given_up_is_told_and_what_still_comes_of_it_is_declined() -> None:
    desk = with_gang_wanted()
    desk.give_up_gang(START, GANG)
    assert said(desk) == (GangGivenUp(GANG),)
    hear_gang(desk, 1, 2)
    assert said(desk) == (Declined(OfferId(1)), Declined(OfferId(2)))


def test_silence_does_not_use_a_gangs_grants_again() -> None:
    desk = with_gang_wanted()
    hear_gang(desk, 1, 2)
    one, two = desk.take_gang(START, GANG) or ()
    desk.finished(START, one)
    desk.fell_silent()
    desk.finished(START, two)
    assert desk.take(START, HALF) is None
    assert said(desk) == (Finished(OfferId(1)), Finished(OfferId(2)))


def test_a_gang_that_cannot_be_is_known_with_the_reason() -> None:
    desk = with_gang_wanted()
    refused = ((GANG, "too large"), (GangId("another"), "who knows"))
    desk.heard(START, at(1), DeskReply(epoch=FIRST, gangs_refused=refused), waited=False)
    assert desk.gangs.refused == {GANG: "too large"}


# What is asked back, and what is told of an end


def test_what_is_asked_back_is_known_until_it_has_ended() -> None:
    desk = with_offers(1, 2)
    grant = take(desk)
    asked = ((OfferId(1), Micros(5_000)), (OfferId(2), Micros(5_000)))
    desk.heard(START, at(1_000), DeskReply(epoch=FIRST, asked_back=asked), waited=False)
    assert desk.asked_back == {1: at(6_000)}
    desk.finished(at(2_000), grant)
    assert desk.asked_back == {}


def test_what_is_asked_back_is_forgotten_with_a_grant_of_which_nothing_is_known() -> None:
    desk = with_offers(1, 2)
    grants = [take(desk), take(desk)]
    asked = tuple((grant.offer_id, Micros(5_000)) for grant in grants)
    desk.heard(START, at(1_000), DeskReply(epoch=FIRST, asked_back=asked), waited=False)
    desk.uncertain(grants[0])
    assert list(desk.asked_back) == [2]
    desk.node_lost(N1)
    assert desk.asked_back == {}


def test_an_end_carries_its_engine_time_whether_it_was_late_and_its_phase() -> None:
    desk = with_offers(1)
    desk.finished(START, take(desk), Micros(70_000), late=True, phase="revise")
    assert said(desk) == (Finished(OfferId(1), Micros(70_000), late=True, phase="revise"),)


def test_a_desk_is_at_rest_once_all_that_it_had_is_told_back() -> None:
    desk = a_desk()
    assert desk.at_rest
    desk.waiting = 1
    assert not desk.at_rest
    hear(desk, ticket(1))
    desk.waiting = 0
    assert not desk.at_rest, "an offer is in hand"
    grant = desk.take(at(1), HALF)
    assert grant is not None
    desk.report(at(2))
    assert not desk.at_rest, "a phase runs"
    desk.finished(at(3), grant)
    assert not desk.at_rest, "its end is not told"
    desk.report(at(4))
    assert desk.at_rest
