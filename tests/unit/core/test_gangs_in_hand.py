"""A desk's gangs: asked for, in hand as a whole, given back as a whole."""

from dataclasses import replace

from coordsvc.core.gangs_in_hand import GangsInHand
from coordsvc.core.messages import GangGivenUp, GangWanted
from coordsvc.core.units import Instant, OfferId
from tests.unit.core.stories import G1, G2, N1, N2, P1, a_grant, member

EARLY, LATE = Instant(1_000), Instant(2_000)
MEMBERS = (member(least=2),)


def in_hand() -> GangsInHand:
    """G1 is in hand: one bundle on each node. G2 is not."""
    gangs = GangsInHand()
    gangs.ask(G1, P1, MEMBERS)
    gangs.ask(G2, P1, MEMBERS)
    gangs.news.clear()
    assert gangs.offered(G1, a_grant(1, N1), EARLY)
    assert gangs.offered(G1, a_grant(2, N2), LATE)
    return gangs


def test_what_is_asked_for_is_news_once() -> None:
    gangs = GangsInHand()
    gangs.ask(G1, P1, MEMBERS)
    assert gangs.news == [GangWanted(G1, P1, MEMBERS)]
    assert gangs.ready() == ()


def test_one_that_is_in_hand_is_taken_whole_and_wanted_no_more() -> None:
    gangs = in_hand()
    assert gangs.ready() == (G1,)
    assert gangs.take(G1) == (a_grant(1, N1), a_grant(2, N2))
    assert (gangs.ready(), list(gangs.wanted)) == ((), [G2])


def test_offers_of_a_gang_that_nobody_wants_are_not_taken() -> None:
    gangs = in_hand()
    gangs.take(G1)
    assert not gangs.offered(G1, a_grant(3), LATE)


def test_when_one_is_lost_the_rest_is_given_back_and_all_asked_for_anew() -> None:
    gangs = in_hand()
    assert gangs.lost([OfferId(1)]) == (2,)
    assert gangs.news == [GangWanted(G1, P1, MEMBERS)]
    assert gangs.ready() == ()


def test_the_loss_of_something_else_changes_nothing() -> None:
    gangs = in_hand()
    assert gangs.lost([OfferId(9)]) == ()
    assert (gangs.ready(), gangs.news) == ((G1,), [])


def test_a_dead_node_loses_what_was_there() -> None:
    gangs = in_hand()
    assert gangs.node_lost(N2) == (1,)
    assert gangs.news == [GangWanted(G1, P1, MEMBERS)]


def test_when_one_has_run_out_all_is_given_back() -> None:
    gangs = in_hand()
    assert gangs.lapsed(Instant(EARLY - 1)) == ()
    assert gangs.lapsed(EARLY) == (1, 2)
    assert gangs.news == [GangWanted(G1, P1, MEMBERS)]


def test_one_that_waits_and_is_given_up_is_news() -> None:
    gangs = in_hand()
    assert gangs.give_up(G2) == ()
    assert gangs.news == [GangGivenUp(G2)]


def test_one_that_is_in_hand_and_is_given_up_is_given_back_and_no_news() -> None:
    """The allocator does not wait for it any more."""
    gangs = in_hand()
    gangs.refused[G1] = "for a reason"
    assert gangs.give_up(G1) == (1, 2)
    assert (gangs.news, gangs.refused) == ([], {})
    assert gangs.give_up(G1) == ()


def test_a_new_allocator_is_told_of_those_that_are_not_in_hand() -> None:
    gangs = in_hand()
    gangs.ask_again()
    gangs.ask_again()
    assert gangs.news == [replace(GangWanted(G1, P1, MEMBERS), gang=G2)]


def test_asking_again_does_not_forget_what_was_given_up() -> None:
    gangs = in_hand()
    gangs.give_up(G2)
    gangs.ask_again()
    assert gangs.news == [GangGivenUp(G2)]
