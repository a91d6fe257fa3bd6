"""Offers are made in one place: numbered, entered, and written on tickets."""

from coordsvc.core.allocation.issuing import IDS_PER_EPOCH_BITS
from coordsvc.core.messages import Reconciled, SendOffer, Wanted
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import MILLISECOND, SECOND, Epoch, Micros, RoleId
from tests.unit.core.stories import GPU, HALF, N1, N2, P1, R1, RESPONDER, Story, a_wait, offered


def test_offers_are_numbered_from_the_epochs_own_beginning() -> None:
    story = Story(epoch=Epoch("run", 7))
    story.node(N1)
    story.desk(P1)
    ids = [offer.offer_id for offer in story.want(P1, waiting=2)]
    assert ids == [(7 << IDS_PER_EPOCH_BITS) + 1, (7 << IDS_PER_EPOCH_BITS) + 2]
    assert story.allocator.last_issued() == ids[-1]


def test_a_ticket_says_what_a_desk_must_know() -> None:
    terms = Terms(offer_lasts_us=Micros(3 * SECOND), offer_margin_us=Micros(500 * MILLISECOND))
    story = Story(terms)
    story.node(N1, GPU, model="small")
    story.tell(Reconciled(N1, frozenset(), (), cached=frozenset({"dialogue"})))
    story.desk(P1)
    story.later(SECOND)
    (sent,) = story.tell(Wanted(P1, 1, 0, (a_wait("t1"),)))
    assert isinstance(sent, SendOffer)
    ticket = sent.ticket
    assert (ticket.lasts, ticket.attributes) == (3 * SECOND, {"model": "small"})
    assert (ticket.cached, ticket.meant_for) == ({"dialogue"}, "t1")
    assert (ticket.revocable, ticket.gang, ticket.agent) == (False, None, None)
    assert sent.offer.expires_at == story.now + 3_500 * MILLISECOND


def test_what_a_node_has_cached_is_bounded_and_told_until_it_tells_anew() -> None:
    story = Story(Terms(cached_per_node_max=2))
    story.node(N1)
    story.tell(Reconciled(N1, frozenset(), (), cached=frozenset({"c", "b", "a"})))
    assert story.allocator.books.issuer.cached[N1] == {"a", "b"}
    assert story.allocator.limits_met["cached_per_node_max"] == 1
    story.tell(Reconciled(N1, frozenset(), (), cached=None))
    assert story.allocator.books.issuer.cached[N1] == {"a", "b"}
    story.tell(Reconciled(N1, frozenset(), (), cached=frozenset()))
    assert story.allocator.books.issuer.cached[N1] == frozenset()


def test_an_offer_is_lent_only_where_it_eats_into_what_is_guaranteed() -> None:
    story = Story(Terms(roles={RoleId("responder"): RoleTerms(guarantee=HALF)}))
    story.node(N1)
    story.node(N2)
    story.desk(P1)
    assert [offer.revocable for offer in story.want(P1, waiting=4)] == [False, False, False, True]


def test_what_its_own_guarantee_covers_is_not_lent_to_anybody() -> None:
    story = Story(Terms(roles={RoleId("responder"): RoleTerms(guarantee=GPU)}))
    story.desk(R1, RESPONDER)
    story.want(R1, waiting=2)
    assert [offer.revocable for offer in offered(story.node(N1))] == [False, False]
