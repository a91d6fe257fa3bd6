"""The ledger's running sums against a plain re-count, and its refusals."""

from dataclasses import replace

import pytest

from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.errors import IllegalTransition, Overdraft, UnknownOffer
from coordsvc.core.offers import ACCEPTED, DECLINED, EXPIRED, ISSUED, RELEASED, VOIDING, Offer
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Instant, NodeId, OfferId

NOW = Instant(7)
N1, N2 = NodeId("n1"), NodeId("n2")
PLANNER, CHECKER = AgentId("planner"), AgentId("checker")
P1 = DeskId("p1")
GPU, HALF = Resources(gpu_milli=1_000), Resources(gpu_milli=500)


def offer(number: int, bundle: Resources = HALF, agent: AgentId = PLANNER) -> Offer:
    return Offer(
        offer_id=OfferId(number),
        agent=agent,
        desk=P1,
        node=N1,
        bundle=bundle,
        expires_at=Instant(0),
    )


def one_node() -> Ledger:
    ledger = Ledger()
    ledger.add_node(N1, GPU)
    return ledger


def test_an_issued_offer_counts_as_allocated_already() -> None:
    ledger = one_node()
    ledger.enter(offer(1))
    assert ledger.free(N1) == HALF
    assert ledger.held_by(PLANNER) == HALF
    assert ledger.held_by(CHECKER) == Resources()
    assert ledger.issued_count(P1) == 1
    ledger.check()


def test_an_accepted_offer_still_holds_but_is_no_longer_the_desks_to_accept() -> None:
    ledger = one_node()
    ledger.enter(offer(1))
    ledger.move(OfferId(1), ACCEPTED, NOW)
    assert ledger.issued_to(P1) == ()
    assert ledger.free(N1) == HALF
    assert [o.state for o in ledger.on_node(N1)] == [ACCEPTED]
    ledger.check()


def test_shrinking_leaves_what_is_used_and_frees_the_rest() -> None:
    ledger = one_node()
    ledger.enter(offer(1))
    smaller = ledger.shrink(OfferId(1), Resources(gpu_milli=200))
    assert smaller.bundle == Resources(gpu_milli=200)
    assert ledger.free(N1) == Resources(gpu_milli=800)
    ledger.check()
    with pytest.raises(Overdraft):
        ledger.shrink(OfferId(1), HALF)
    ledger.check()


def test_an_end_frees_the_bundle_and_forgets_the_offer() -> None:
    ledger = one_node()
    ledger.enter(offer(1))
    ledger.move(OfferId(1), VOIDING, NOW, voided_as=EXPIRED)
    assert ledger.free(N1) == HALF
    assert ledger.move(OfferId(1), EXPIRED, NOW).state is EXPIRED
    assert ledger.free(N1) == GPU
    assert ledger.held_by(PLANNER) == Resources()
    with pytest.raises(UnknownOffer):
        ledger.find(OfferId(1))
    ledger.check()


def test_an_illegal_move_changes_nothing() -> None:
    ledger = one_node()
    ledger.enter(offer(1))
    ledger.move(OfferId(1), ACCEPTED, NOW)
    with pytest.raises(IllegalTransition):
        ledger.move(OfferId(1), DECLINED, NOW)
    assert ledger.find(OfferId(1)).state is ACCEPTED
    ledger.check()


def test_sums_stay_right_over_nodes_and_agents() -> None:
    ledger = one_node()
    ledger.add_node(N2, HALF)
    ledger.enter(offer(1))
    ledger.enter(offer(2, agent=CHECKER))
    ledger.enter(replace(offer(3), node=N2))
    assert ledger.total == GPU + HALF
    assert ledger.held_by(PLANNER) == GPU
    assert [o.offer_id for o in ledger.issued_to(P1)] == [1, 2, 3]
    ledger.check()
    ledger.move(OfferId(3), DECLINED, NOW)
    ledger.remove_node(N2)
    assert ledger.total == GPU
    assert N2 not in ledger.capacity
    ledger.check()


def test_the_ledger_would_rather_stop_than_give_out_what_it_lacks() -> None:
    ledger = one_node()
    ledger.enter(offer(1, GPU))
    with pytest.raises(AssertionError, match="what it lacks"):
        ledger.enter(offer(2))
    with pytest.raises(AssertionError, match="never reused"):
        ledger.enter(offer(1))
    with pytest.raises(AssertionError, match="end a node's offers first"):
        ledger.remove_node(N1)


def test_an_offer_that_has_ended_cannot_be_entered() -> None:
    with pytest.raises(AssertionError, match="RELEASED holds nothing"):
        one_node().enter(replace(offer(1), state=RELEASED))


def test_the_check_finds_a_sum_that_is_wrong() -> None:
    ledger = one_node()
    ledger.enter(offer(1))
    ledger.part_of(N1, None).free = GPU
    with pytest.raises(AssertionError):
        ledger.check()
    assert ledger.find(OfferId(1)).state is ISSUED
