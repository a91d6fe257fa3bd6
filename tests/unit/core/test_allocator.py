"""The allocator, one event at a time: what it is told, and what it wants done."""

from dataclasses import replace

import pytest

from coordsvc.core.allocation.issuing import IDS_PER_EPOCH_BITS
from coordsvc.core.allocator import Allocator
from coordsvc.core.hindsight.snapshot import snapshot
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Finished,
    Freed,
    Granted,
    NodeJoined,
    NodeLost,
    Reconciled,
    Refused,
    SendOffer,
    Ticked,
    Void,
    Voided,
    Wanted,
    Withdraw,
)
from coordsvc.core.offers import (
    ACCEPTED,
    DECLINED,
    EXPIRED,
    RELEASED,
    RESCINDED,
    VOIDING,
    Grant,
    Offer,
)
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, AgentId, DeskId, Epoch, Instant, Micros, NodeId, OfferId

N1, N2 = NodeId("n1"), NodeId("n2")
P1, R1, C1 = DeskId("p1"), DeskId("r1"), DeskId("c1")
PLANNER, RESPONDER, CHECKER = AgentId("planner"), AgentId("responder"), AgentId("checker")
GPU, HALF, QUARTER = (Resources(gpu_milli=amount) for amount in (1_000, 500, 250))
FIRST, SECOND_LIFE = Epoch("run", 1), Epoch("run", 2)
OFFER_ENDS = Terms().offer_lasts_us + Terms().offer_margin_us


class Room:
    """An allocator, with a hand on its clock."""

    def __init__(self, terms: Terms | None = None, epoch: Epoch = FIRST) -> None:
        self.allocator = Allocator(epoch=epoch, terms=terms or Terms())
        self.now = Instant(0)

    def tell(self, *events: Event) -> list[Effect]:
        effects = [e for event in events for e in self.allocator.handle(self.now, event)]
        self.allocator.ledger.check()
        return effects

    def wait(self, micros: int) -> list[Effect]:
        self.now = Instant(self.now + micros)
        return self.tell(Ticked())

    def refuses(self, event: Event) -> str:
        """Tell an event that must be refused, see that nothing changed, and return why."""
        before = snapshot(self.allocator)
        effects = self.tell(event)
        assert [type(effect) for effect in effects] == [Refused]
        assert snapshot(self.allocator) == before
        (refused,) = effects
        assert isinstance(refused, Refused)
        assert refused.event == event
        return refused.why


def offers(effects: list[Effect]) -> list[Offer]:
    return [effect.offer for effect in effects if isinstance(effect, SendOffer)]


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def desk_wants(
    desk: DeskId, agent: AgentId, *, waiting: int = 0, ahead: int = 0, bundle: Resources = HALF
) -> tuple[Event, Event]:
    return DeskJoined(desk, agent, bundle), Wanted(desk, waiting, ahead)


def one_offer(terms: Terms | None = None, bundle: Resources = HALF) -> tuple[Room, Offer]:
    """Return a room in which the planner holds one offer on a node of a whole GPU."""
    room = Room(terms)
    (offer,) = offers(
        room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, waiting=1, bundle=bundle))
    )
    return room, offer


def running(offer: Offer, epoch: Epoch = FIRST) -> Grant:
    return Grant(
        epoch=epoch,
        offer_id=offer.offer_id,
        use=1,
        node=offer.node,
        agent=offer.agent,
        desk=offer.desk,
        bundle=offer.bundle,
    )


# Offers


def test_a_desk_is_offered_what_it_wants_and_no_more() -> None:
    room = Room()
    sent = offers(room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, waiting=1, ahead=0)))
    assert [(o.desk, o.node, o.bundle) for o in sent] == [(P1, N1, HALF)]
    assert room.tell(Ticked()) == []


def test_the_ticket_says_how_long_it_lasts_and_the_allocator_waits_a_margin_longer() -> None:
    room = Room()
    room.now = Instant(77)
    effects = room.tell(
        NodeJoined(N1, GPU, {"model": "small"}), *desk_wants(P1, PLANNER, waiting=1)
    )
    (sent,) = (effect for effect in effects if isinstance(effect, SendOffer))
    assert sent.ticket.lasts == Terms().offer_lasts_us
    assert sent.offer.expires_at == 77 + OFFER_ENDS
    assert sent.ticket.epoch == FIRST
    assert sent.ticket.attributes == {"model": "small"}
    assert room.allocator.next_expiry() == sent.offer.expires_at


def test_the_node_with_the_most_room_is_chosen_and_the_first_to_come_where_equal() -> None:
    room = Room()
    room.tell(NodeJoined(N2, GPU), NodeJoined(N1, GPU))
    sent = offers(room.tell(*desk_wants(P1, PLANNER, waiting=4)))
    assert [o.node for o in sent] == [N2, N1, N2, N1]


def test_no_more_than_the_bound_is_offered_to_one_desk() -> None:
    room = Room(Terms(offers_per_desk_max=2))
    wants = desk_wants(P1, PLANNER, waiting=9, bundle=QUARTER)
    sent = offers(room.tell(NodeJoined(N1, GPU), *wants))
    assert len(sent) == 2


def test_a_desk_that_wants_nothing_is_suppressed_and_anything_revives_it() -> None:
    room, offer = one_offer()
    assert room.tell(Wanted(P1, 0, 0), Declined(offer.offer_id)) == [
        Freed(replace(offer, state=DECLINED))
    ]
    assert len(offers(room.tell(Wanted(P1, 0, 1)))) == 1


def test_ids_of_two_epochs_never_meet() -> None:
    first, second = Room(), Room(epoch=SECOND_LIFE)
    events = (NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, waiting=2))
    ids = [{o.offer_id for o in offers(room.tell(*events))} for room in (first, second)]
    assert not ids[0] & ids[1]
    assert max(ids[0]) < 2 << IDS_PER_EPOCH_BITS < min(ids[1])


# Acceptance


def test_an_acceptance_of_part_gives_the_rest_to_whoever_wants_it() -> None:
    room, offer = one_offer(bundle=GPU)
    room.tell(*desk_wants(R1, RESPONDER, waiting=1))
    granted, sent = room.tell(Accepted(offer.offer_id, HALF))
    assert granted == Granted(replace(offer, state=ACCEPTED, bundle=HALF))
    assert isinstance(sent, SendOffer)
    assert (sent.offer.desk, sent.offer.bundle) == (R1, HALF)


def test_a_second_acceptance_is_refused() -> None:
    room, offer = one_offer()
    room.tell(Accepted(offer.offer_id, HALF))
    assert "ACCEPTED -> ACCEPTED" in room.refuses(Accepted(offer.offer_id, HALF))


def test_an_acceptance_of_more_than_the_offer_is_refused() -> None:
    room, offer = one_offer()
    assert "holds gpu=500, not gpu=1000" in room.refuses(Accepted(offer.offer_id, GPU))


def test_an_acceptance_of_what_was_never_offered_is_refused() -> None:
    room, _ = one_offer()
    assert "UnknownOffer" in room.refuses(Accepted(OfferId(4), HALF))


def test_a_late_acceptance_counts_while_the_engine_is_still_being_asked() -> None:
    """The work may be on the engine already: only its word can tell, and meanwhile it is held."""
    room, offer = one_offer()
    room.now = Instant(OFFER_ENDS)
    effects = room.tell(Wanted(P1, 0, 0), Accepted(offer.offer_id, HALF))
    assert kinds(effects) == ["Withdraw", "Void", "Granted"]
    assert room.tell(Voided(offer.offer_id, was_started=True)) == []
    assert room.tell(Finished(offer.offer_id)) == [
        Freed(replace(offer, state=RELEASED, since=room.now))
    ]


def test_a_late_acceptance_is_overruled_by_an_engine_that_never_saw_the_work() -> None:
    room, offer = one_offer()
    room.now = Instant(OFFER_ENDS)
    room.tell(Wanted(P1, 0, 0), Accepted(offer.offer_id, HALF))
    (freed,) = room.tell(Voided(offer.offer_id, was_started=False))
    assert freed == Freed(replace(offer, state=RELEASED, since=room.now))
    assert "UnknownOffer" in room.refuses(Finished(offer.offer_id))


def test_a_started_phase_no_longer_counts_as_waiting() -> None:
    room, offer = one_offer()
    assert room.tell(Accepted(offer.offer_id, HALF)) == [Granted(replace(offer, state=ACCEPTED))]
    assert room.allocator.desks[P1].waiting == 0


# Decline


def test_a_decline_moves_the_offer_on_to_the_next_desk() -> None:
    room, offer = one_offer(bundle=GPU)
    room.tell(*desk_wants(R1, RESPONDER, waiting=1, bundle=GPU))
    freed, sent = room.tell(Declined(offer.offer_id, Micros(5 * SECOND)))
    assert freed == Freed(replace(offer, state=DECLINED))
    assert isinstance(sent, SendOffer)
    assert sent.offer.desk == R1


def test_a_declined_node_is_not_offered_again_until_the_refusal_ends() -> None:
    room, offer = one_offer()
    assert kinds(room.tell(Declined(offer.offer_id, Micros(5 * SECOND)))) == ["Freed"]
    assert room.wait(5 * SECOND - 1) == []
    (again,) = offers(room.wait(1))
    assert (again.desk, again.node) == (P1, N1)


def test_the_allocator_says_that_it_must_be_woken_when_a_refusal_ends() -> None:
    room, offer = one_offer()
    room.wait(OFFER_ENDS - 1)
    room.tell(Declined(offer.offer_id, Micros(5 * SECOND)))
    room.wait(1)  # the declined offer's own expiry is past
    assert room.allocator.next_expiry() == OFFER_ENDS - 1 + 5 * SECOND


def test_a_refusal_is_bounded() -> None:
    room, offer = one_offer(Terms(refuse_for_max_us=Micros(2 * SECOND)))
    room.tell(Declined(offer.offer_id, Micros(10**12)))
    assert offers(room.wait(2 * SECOND - 1)) == []
    assert len(offers(room.wait(1))) == 1


def test_a_refusal_of_one_node_leaves_the_others_open() -> None:
    room, offer = one_offer()
    room.tell(Declined(offer.offer_id, Micros(5 * SECOND)))
    (elsewhere,) = offers(room.tell(NodeJoined(N2, HALF)))
    assert elsewhere.node == N2


def test_what_was_accepted_cannot_be_declined() -> None:
    room, offer = one_offer()
    room.tell(Accepted(offer.offer_id, HALF))
    assert "ACCEPTED -> DECLINED" in room.refuses(Declined(offer.offer_id))


# Expiry: the engine is asked first


def test_an_expired_offer_is_freed_only_on_the_engines_word() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    assert room.wait(OFFER_ENDS - 1) == []
    assert room.wait(1) == [
        Withdraw(offer),
        Void(replace(offer, state=VOIDING, voided_as=EXPIRED, since=room.now)),
    ]
    assert room.wait(100 * SECOND) == []
    assert room.tell(Voided(offer.offer_id, was_started=False)) == [
        Freed(replace(offer, state=EXPIRED, since=room.now))
    ]


def test_an_expired_offer_that_the_engine_has_started_becomes_a_grant() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    room.wait(OFFER_ENDS)
    assert room.tell(Voided(offer.offer_id, was_started=True)) == [
        Granted(replace(offer, state=ACCEPTED, since=room.now))
    ]
    assert room.tell(Finished(offer.offer_id)) == [
        Freed(replace(offer, state=RELEASED, since=room.now))
    ]


def test_a_decline_that_crosses_the_question_frees_at_once() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    room.wait(OFFER_ENDS)
    assert kinds(room.tell(Declined(offer.offer_id))) == ["Freed"]
    assert "UnknownOffer" in room.refuses(Voided(offer.offer_id, was_started=False))


def test_a_repeated_answer_of_the_engine_changes_nothing() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    room.wait(OFFER_ENDS)
    room.tell(Voided(offer.offer_id, was_started=False))
    assert "UnknownOffer" in room.refuses(Voided(offer.offer_id, was_started=False))


def test_an_answer_to_a_question_never_asked_is_refused() -> None:
    room, offer = one_offer()
    assert "not to be voided" in room.refuses(Voided(offer.offer_id, was_started=False))


def test_a_question_that_got_lost_is_asked_again_when_the_engine_reports() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    room.wait(OFFER_ENDS)  # Void leaves, and is never answered
    word = Reconciled(N1, running=frozenset(), finished=())
    asked_again = [effect for _ in range(Terms().unseen_max) for effect in room.tell(word)]
    assert asked_again == [Void(replace(offer, state=VOIDING, voided_as=EXPIRED, since=room.now))]


def test_a_clock_that_steps_back_is_taken_to_stand_still() -> None:
    room, offer = one_offer()
    room.wait(3 * SECOND)
    room.tell(Wanted(P1, 0, 2))
    room.now = Instant(0)
    room.tell(Declined(offer.offer_id))
    late = [o.expires_at for o in room.allocator.ledger.issued_to(P1)]
    assert late == [3 * SECOND + OFFER_ENDS] * 2


# Rescission: offers held ahead, while somebody waits


def test_offers_held_ahead_are_taken_back_when_a_phase_waits_in_vain() -> None:
    room = Room()
    held = offers(room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, ahead=2)))
    effects = room.tell(*desk_wants(R1, RESPONDER, waiting=1))
    youngest = held[-1]
    assert effects == [
        Withdraw(youngest),
        Void(replace(youngest, state=VOIDING, voided_as=RESCINDED)),
    ]
    assert room.tell(Ticked()) == []  # one phase waits: one offer is taken back, not all
    freed, sent = room.tell(Voided(youngest.offer_id, was_started=False))
    assert freed == Freed(replace(youngest, state=RESCINDED))
    assert isinstance(sent, SendOffer)
    assert sent.offer.desk == R1


def test_the_desk_that_holds_most_ahead_gives_first() -> None:
    room = Room()
    room.tell(NodeJoined(N1, GPU))
    room.tell(*desk_wants(C1, CHECKER, ahead=1, bundle=QUARTER))
    room.tell(*desk_wants(P1, PLANNER, ahead=3, bundle=QUARTER))
    effects = room.tell(*desk_wants(R1, RESPONDER, waiting=3, bundle=QUARTER))
    assert [e.offer.desk for e in effects if isinstance(e, Withdraw)] == [P1, P1, C1]


def test_what_a_waiting_phase_holds_is_not_taken_from_it() -> None:
    room = Room()
    room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, waiting=2))
    assert room.tell(*desk_wants(R1, RESPONDER, waiting=1)) == []


def settle(room: Room, effects: list[Effect], rounds_max: int = 50) -> list[Effect]:
    """Answer every question of the allocator's as an idle engine does, until it asks no more."""
    said = list(effects)
    for _ in range(rounds_max):
        asked = [effect.offer.offer_id for effect in effects if isinstance(effect, Void)]
        if not asked:
            return said
        effects = room.tell(*(Voided(offer_id, was_started=False) for offer_id in asked))
        said += effects
    raise AssertionError(f"still asking after {rounds_max} rounds")


def test_nothing_is_taken_back_for_a_phase_that_it_would_not_help() -> None:
    """Nobody's offer is any use to a phase that no node is large enough for."""
    room = Room()
    room.tell(*desk_wants(R1, RESPONDER, waiting=1, bundle=GPU + HALF))  # before there is a node
    said = room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, ahead=2), Ticked())
    assert kinds(said) == ["SendOffer", "SendOffer"]


def test_a_desk_that_no_node_could_ever_serve_is_told_so_at_once() -> None:
    room = Room()
    room.tell(NodeJoined(N1, GPU), NodeJoined(N2, HALF))
    too_large = DeskJoined(R1, RESPONDER, GPU + HALF)
    assert "the largest that fits any node is gpu=1000" in room.refuses(too_large)


def test_nothing_is_taken_back_on_a_node_that_the_waiting_desk_refuses() -> None:
    room = Room()
    (offer,) = offers(room.tell(NodeJoined(N1, HALF), *desk_wants(R1, RESPONDER, waiting=1)))
    room.tell(Declined(offer.offer_id, Micros(30 * SECOND)))
    assert kinds(room.tell(*desk_wants(P1, PLANNER, ahead=1))) == ["SendOffer"]
    assert room.tell(Ticked()) == []


def test_small_offers_are_gathered_until_a_large_waiting_phase_fits() -> None:
    """What is freed for the one who waits must not be offered ahead again, or this never ends."""
    room = Room()
    room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, ahead=4, bundle=QUARTER))
    said = settle(room, room.tell(*desk_wants(R1, RESPONDER, waiting=1, bundle=GPU)))
    assert [(o.desk, o.bundle) for o in offers(said)] == [(R1, GPU)]


def test_a_desk_that_hoards_loses_everything_to_expiry() -> None:
    """It claims a hundred waiting phases and starts none; others get theirs, a term later."""
    room = Room()
    room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, waiting=100))
    assert room.tell(*desk_wants(R1, RESPONDER, waiting=1)) == []
    said = settle(room, room.wait(OFFER_ENDS))
    assert [o.desk for o in offers(said)].count(R1) == 1


# Nodes


def test_a_lost_node_ends_all_that_was_held_on_it() -> None:
    room = Room()
    held, taken = offers(room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, waiting=2)))
    room.tell(Accepted(taken.offer_id, HALF))
    effects = room.tell(NodeLost(N1))
    assert effects == [
        Withdraw(held),
        Freed(replace(held, state=RESCINDED)),
        Freed(replace(taken, state=RESCINDED)),
    ]
    assert "UnknownOffer" in room.refuses(Finished(taken.offer_id))
    assert "n1 is not here" in room.refuses(NodeLost(N1))
    assert room.allocator.ledger.total == Resources()


def test_a_node_that_comes_with_running_grants_of_an_old_epoch_offers_only_the_rest() -> None:
    _, old = one_offer()
    room = Room(epoch=SECOND_LIFE)
    room.tell(*desk_wants(R1, RESPONDER, waiting=2))
    granted, sent = room.tell(NodeJoined(N1, GPU, {}, (running(old),)))
    assert isinstance(granted, Granted)
    assert granted.offer.offer_id == old.offer_id
    assert isinstance(sent, SendOffer)
    freed, again = room.tell(Finished(old.offer_id))
    assert isinstance(freed, Freed)
    assert freed.end is RELEASED
    assert isinstance(again, SendOffer)


def test_a_node_joins_once() -> None:
    room, _ = one_offer()
    assert "joined already" in room.refuses(NodeJoined(N1, GPU))


# Reconciliation


def test_the_engine_tells_of_an_end_that_the_desk_never_told() -> None:
    room, offer = one_offer()
    room.tell(Accepted(offer.offer_id, HALF))
    assert room.tell(Reconciled(N1, frozenset(), (offer.offer_id,))) == [
        Freed(replace(offer, state=RELEASED))
    ]
    assert "UnknownOffer" in room.refuses(Finished(offer.offer_id))


def test_the_engine_tells_of_work_whose_acceptance_got_lost() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    assert room.tell(Reconciled(N1, frozenset({offer.offer_id}), ())) == [
        Granted(replace(offer, state=ACCEPTED))
    ]
    assert room.wait(100 * SECOND) == []  # work that runs does not expire


def test_the_engine_tells_of_both_at_once() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    assert kinds(room.tell(Reconciled(N1, frozenset(), (offer.offer_id,)))) == ["Granted", "Freed"]


def test_work_that_never_reaches_its_engine_is_voided_after_some_reports() -> None:
    room, offer = one_offer()
    room.tell(Accepted(offer.offer_id, HALF))
    word = Reconciled(N1, frozenset(), ())
    assert room.tell(word) == []
    (void,) = room.tell(word)
    assert void == Void(replace(offer, state=ACCEPTED))
    assert room.tell(Voided(offer.offer_id, was_started=False)) == [
        Freed(replace(offer, state=RELEASED))
    ]


def test_work_that_is_seen_again_is_not_voided() -> None:
    room, offer = one_offer()
    room.tell(Accepted(offer.offer_id, HALF))
    unseen, seen = (Reconciled(N1, frozenset(ids), ()) for ids in ((), (offer.offer_id,)))
    assert room.tell(unseen, seen, unseen, seen, unseen) == []


def test_refused_news_of_unseen_work_does_not_start_the_count_again() -> None:
    room, offer = one_offer()
    room.tell(Accepted(offer.offer_id, HALF), Reconciled(N1, frozenset(), ()))
    assert "ACCEPTED -> DECLINED" in room.refuses(Declined(offer.offer_id))


def test_a_report_of_a_node_that_is_gone_is_refused() -> None:
    assert "n2 is not here" in Room().refuses(Reconciled(N2, frozenset(), ()))


# Desks


def test_a_lost_desks_offers_are_voided_and_its_running_work_goes_on() -> None:
    room = Room()
    held, taken = offers(room.tell(NodeJoined(N1, GPU), *desk_wants(P1, PLANNER, waiting=2)))
    room.tell(Accepted(taken.offer_id, HALF))
    assert room.tell(DeskLost(P1)) == [Void(replace(held, state=VOIDING, voided_as=RESCINDED))]
    assert room.tell(Voided(held.offer_id, was_started=False)) == [
        Freed(replace(held, state=RESCINDED))
    ]
    assert room.tell(Reconciled(N1, frozenset(), (taken.offer_id,))) == [
        Freed(replace(taken, state=RELEASED))
    ]


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (DeskJoined(P1, PLANNER, HALF), "joined already"),
        (DeskJoined(R1, RESPONDER, Resources()), "bundles of nothing"),
        (DeskLost(R1), "r1 has not joined"),
        (Wanted(R1, 1, 1), "r1 has not joined"),
        (Wanted(P1, -1, 0), "wants -1 and 0"),
        (Declined(OfferId(5)), "UnknownOffer"),
        (Finished(OfferId(5)), "UnknownOffer"),
        (Voided(OfferId(5), was_started=True), "UnknownOffer"),
    ],
)
def test_an_event_that_breaks_the_rules_is_refused_with_a_reason(event: Event, why: str) -> None:
    room, _ = one_offer()
    assert why in room.refuses(event)


def test_a_finish_without_an_acceptance_implies_it() -> None:
    room, offer = one_offer()
    room.tell(Wanted(P1, 0, 0))
    assert kinds(room.tell(Finished(offer.offer_id))) == ["Granted", "Freed"]


def test_the_same_events_at_the_same_times_give_the_same_effects() -> None:
    def life() -> list[Effect]:
        room = Room()
        said = room.tell(NodeJoined(N2, GPU), NodeJoined(N1, HALF))
        said += room.tell(*desk_wants(P1, PLANNER, ahead=2), *desk_wants(R1, RESPONDER, waiting=3))
        return said + settle(room, room.wait(OFFER_ENDS))

    assert life() == life()
