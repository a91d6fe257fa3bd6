"""What an agent answers to an offer."""

from coordsvc.core.acceptance import Decline, Need, Take, answer
from coordsvc.core.filters import NodeFilter
from coordsvc.core.offers import Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, Epoch, Micros, NodeId, OfferId

GPU, HALF = Resources(gpu_milli=1_000), Resources(gpu_milli=500)
OFFERED = Ticket(
    epoch=Epoch("run", 1),
    offer_id=OfferId(1),
    node=NodeId("n1"),
    bundle=HALF,
    lasts=Micros(SECOND),
    attributes={"model": "small", "zone": "b"},
)


def test_an_offer_that_fits_a_waiting_phase_is_taken_for_what_the_phase_needs() -> None:
    quarter = Resources(gpu_milli=250)
    assert answer(OFFERED, Need(demand=quarter, backlog=1, ahead=0, held=0)) == Take(quarter)


def test_an_offer_is_taken_ahead_of_need_up_to_the_target() -> None:
    assert isinstance(answer(OFFERED, Need(demand=HALF, backlog=0, ahead=2, held=1)), Take)
    assert answer(OFFERED, Need(demand=HALF, backlog=0, ahead=2, held=2)) == Decline(
        Micros(0), "nothing to use it for"
    )


def test_too_small_a_bundle_is_declined_for_a_short_while() -> None:
    assert answer(OFFERED, Need(demand=GPU, backlog=1, ahead=0, held=0)) == Decline(
        Micros(5 * SECOND), "gpu=500 does not cover gpu=1000"
    )


def test_an_unfit_node_is_declined_for_a_long_while_and_the_first_reason_by_name_is_given() -> None:
    need = Need(
        demand=HALF,
        backlog=1,
        ahead=0,
        held=0,
        where=NodeFilter.requiring({"zone": "a", "model": "large"}),
    )
    assert answer(OFFERED, need) == Decline(
        Micros(60 * SECOND), "model is small; needed: model is large"
    )


def test_an_attribute_that_the_node_lacks_makes_it_unfit() -> None:
    need = Need(
        demand=HALF, backlog=1, ahead=0, held=0, where=NodeFilter.requiring({"adapter": "checker"})
    )
    assert answer(OFFERED, need) == Decline(
        Micros(60 * SECOND), "adapter is nothing; needed: adapter is checker"
    )


def test_an_attribute_that_fits_is_no_obstacle() -> None:
    need = Need(demand=HALF, backlog=1, ahead=0, held=0, where=NodeFilter.requiring({"zone": "b"}))
    assert answer(OFFERED, need) == Take(HALF)
