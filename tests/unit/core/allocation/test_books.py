"""The moves that every reaction is made of: start, take back, finish, free, refuse."""

from coordsvc.core.messages import Accepted, Declined, Finished, Freed, Granted, Void, Withdraw
from coordsvc.core.offers import EXPIRED, RELEASED
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, Micros
from tests.unit.core.stories import GPU, HALF, N1, N2, P1, P2, QUARTER, Story, offered, refusals


def with_offers(terms: Terms | None = None, waiting: int = 2) -> Story:
    story = Story(terms)
    story.node(N1)
    story.desk(P1)
    story.want(P1, waiting=waiting)
    return story


def test_a_start_leaves_what_is_used_and_frees_the_rest() -> None:
    story = with_offers()
    offer = story.allocator.ledger.issued_to(P1)[0]
    granted = story.allocator.books.start(story.now, offer, QUARTER)
    assert [type(effect) for effect in granted] == [Granted]
    assert story.free() == QUARTER
    assert story.allocator.desks[P1].issued == 1
    assert story.allocator.desks[P1].waiting == 1


def test_what_is_taken_back_is_not_free_before_its_engine_has_spoken() -> None:
    story = with_offers()
    books, offer = story.allocator.books, story.allocator.ledger.issued_to(P1)[0]
    effects = books.take_back(story.now, offer, EXPIRED)
    assert [type(effect) for effect in effects] == [Withdraw, Void]
    assert story.free() == GPU - HALF - HALF
    (freed,) = books.free(story.now, offer.offer_id, EXPIRED)
    assert isinstance(freed, Freed)
    assert freed.end is EXPIRED
    assert story.free() == HALF


def test_a_finish_implies_the_start_that_nobody_heard_of() -> None:
    story = with_offers()
    offer = story.allocator.ledger.issued_to(P1)[0]
    granted, freed = story.allocator.books.finish(story.now, offer.offer_id)
    assert isinstance(granted, Granted)
    assert isinstance(freed, Freed)
    assert freed.end is RELEASED


def test_a_bound_that_is_met_is_counted_and_named() -> None:
    books = Story(Terms(nodes_max=3)).allocator.books
    assert books.met("nodes_max") == "nodes_max is 3, and reached"
    assert books.limits_met == {"nodes_max": 1}


def test_the_rest_of_an_acceptance_is_declined_and_obeys_its_filter() -> None:
    story = with_offers(waiting=1)
    (offer,) = story.allocator.ledger.issued_to(P1)
    story.tell(Accepted(offer.offer_id, QUARTER, Micros(5 * SECOND)))
    assert story.want(P1, waiting=1) == []
    assert story.later(5 * SECOND).want(P1, waiting=1) != []


def test_an_acceptance_of_all_refuses_nothing() -> None:
    story = with_offers(waiting=1)
    (offer,) = story.allocator.ledger.issued_to(P1)
    story.tell(Accepted(offer.offer_id, HALF, Micros(5 * SECOND)))
    assert len(story.want(P1, waiting=1)) == 1


def test_a_desk_that_declines_too_fast_is_left_alone_for_a_second() -> None:
    story = with_offers(Terms(declines_per_second_max=3), waiting=1)
    for _ in range(3):
        (offer,) = story.allocator.ledger.issued_to(P1)
        assert len(offered(story.tell(Declined(offer.offer_id)))) == 1
    (offer,) = story.allocator.ledger.issued_to(P1)
    assert offered(story.tell(Declined(offer.offer_id))) == []
    assert story.allocator.limits_met["declines_per_second_max"] == 1
    assert story.later(SECOND - 1).want(P1, waiting=1) == []
    assert story.later(1).want(P1, waiting=1) != []


def test_a_flood_of_declines_is_the_flooders_own_loss() -> None:
    story = with_offers(Terms(declines_per_second_max=3), waiting=9)
    story.desk(P2)
    story.want(P2, waiting=1)
    for _ in range(9):
        if held := story.allocator.ledger.issued_to(P1):
            story.tell(Declined(held[0].offer_id))
    assert len(story.allocator.ledger.issued_to(P2)) == 1


def test_refusals_are_bounded_and_the_oldest_is_forgotten() -> None:
    story = Story(Terms(filters_per_desk_max=1))
    story.node(N1, HALF)
    story.node(N2, HALF)
    story.desk(P1)
    for offer in story.want(P1, waiting=2):
        story.tell(Declined(offer.offer_id, Micros(60 * SECOND)))
    assert story.allocator.limits_met["filters_per_desk_max"] == 1
    assert [offer.node for offer in story.allocator.ledger.issued_to(P1)] == [N1]


def test_an_end_is_told_once() -> None:
    story = with_offers()
    offer = story.allocator.ledger.issued_to(P1)[0]
    story.tell(Finished(offer.offer_id))
    assert len(refusals(story.tell(Finished(offer.offer_id)))) == 1
