"""The life of an offer: every pair of states is either in the table, or refused."""

from itertools import product

import pytest

from coordsvc.core.errors import IllegalTransition
from coordsvc.core.offers import (
    ACCEPTED,
    DECLINED,
    EXPIRED,
    GATHERED,
    HOLDING,
    ISSUED,
    RELEASED,
    RESCINDED,
    TRANSITIONS,
    VOIDING,
    Offer,
    OfferState,
)
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Instant, NodeId, OfferId


def offer_in(state: OfferState, since: int = 0) -> Offer:
    return Offer(
        offer_id=OfferId(7),
        agent=AgentId("planner"),
        desk=DeskId("p1"),
        node=NodeId("n1"),
        bundle=Resources(gpu_milli=500),
        expires_at=Instant(9),
        since=Instant(since),
        state=state,
    )


@pytest.mark.parametrize(("start", "end"), list(product(OfferState, OfferState)))
def test_an_offer_moves_as_the_table_says_and_no_other_way(
    start: OfferState, end: OfferState
) -> None:
    offer = offer_in(start)
    if end in TRANSITIONS[start]:
        assert offer.to(end, Instant(8)) == offer_in(end, since=8)
    else:
        with pytest.raises(IllegalTransition, match=f"offer 7: {start.name} -> {end.name}"):
            offer.to(end, Instant(8))


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(OfferState)


def test_offers_hold_resources_until_they_come_to_an_end() -> None:
    assert frozenset({GATHERED, ISSUED, VOIDING, ACCEPTED}) == HOLDING
    for end in (DECLINED, EXPIRED, RESCINDED, RELEASED):
        assert not TRANSITIONS[end]


def test_no_offer_is_freed_without_an_end_that_somebody_vouched_for() -> None:
    """Expiry needs the engine's word, so it is reached from VOIDING only."""
    assert {start for start in OfferState if EXPIRED in TRANSITIONS[start]} == {VOIDING}
    assert {start for start in OfferState if RELEASED in TRANSITIONS[start]} == {ACCEPTED}
