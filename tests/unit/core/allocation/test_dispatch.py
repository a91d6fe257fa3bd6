"""Who is offered what: stories of claims that find room, or wait for it."""

from dataclasses import dataclass, field

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.dispatch import Choice, Dispatch
from coordsvc.core.allocation.issuing import Issuer
from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.allocation.queues import Kind
from coordsvc.core.allocation.rooms import Part
from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.offers import DECLINED, Offer
from coordsvc.core.policies import Policy
from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.policies.first_come import FirstCome
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, NodeId, RoleId, TurnId
from coordsvc.core.waits import Wait

GPU, HALF = Resources(gpu_milli=1_000), Resources(gpu_milli=500)
LARGE = NodeFilter.requiring({"model": "large"})


@dataclass
class Room:
    """A dispatch, and what the allocator does around it."""

    policy: Policy = field(default_factory=FairShare)
    offers_max: int = 256
    now: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger()
        self.dispatch = Dispatch(self.ledger, self.policy, self.offers_max)
        self.issuer = Issuer(Epoch("run", 1), Terms(), self.ledger)
        self.offers: list[Offer] = []

    def node(self, name: str, capacity: Resources = GPU, **attributes: str) -> Part:
        self.ledger.add_node(NodeId(name), capacity, attributes)
        (part,) = self.ledger.rooms.of(NodeId(name))
        return part

    def desk(
        self,
        name: str,
        bundle: Resources = GPU,
        *,
        waiting: int = 0,
        ahead: int = 0,
        least: Resources | None = None,
        where: NodeFilter = ANY_NODE,
    ) -> DeskState:
        """Have a desk join; its agent's name begins its own: `planner-1`."""
        state = DeskState(
            desk=DeskId(name),
            agent=AgentId(name.partition("-")[0]),
            bundle=bundle,
            least=least or bundle,
            where=where,
            waiting=waiting,
            ahead=ahead,
        )
        self.dispatch.join(state)
        return state

    def offered(self) -> list[tuple[str, str]]:
        """Make all offers that are due; return who was offered something, and where."""
        made = [self._issue(choice) for choice in self.dispatch.choices(Instant(self.now))]
        return [(offer.desk, offer.node) for offer in made]

    def give_back(self, desk: str) -> None:
        """Decline a desk's oldest offer."""
        offer = next(offer for offer in self.offers if offer.desk == desk)
        self.offers.remove(offer)
        self.ledger.move(offer.offer_id, DECLINED, Instant(self.now))
        state = self.dispatch.desks[offer.desk]
        state.issued -= 1
        self.dispatch.held_changed(offer.agent)
        self.dispatch.changed(state)

    def wants(self, state: DeskState, *, waiting: int = 0, ahead: int = 0) -> None:
        state.waiting, state.ahead = waiting, ahead
        self.dispatch.changed(state)

    def kind_of(self, state: DeskState) -> Kind:
        return next(kind for kind in self.dispatch.kinds.values() if state.desk in kind.desks)

    def _issue(self, choice: Choice) -> Offer:
        offer = self.issuer.issue(Instant(self.now), choice).offer
        choice.desk.issued += 1
        choice.desk.mean_for(offer.meant_for)
        self.dispatch.held_changed(offer.agent)
        self.dispatch.changed(choice.desk)
        self.offers.append(offer)
        return offer


def phase(turn: str, asked: int = 0, near: str | None = None) -> Wait:
    return Wait(
        turn=TurnId(turn),
        asked=Instant(asked),
        arrived=Instant(asked),
        deadline=Instant(10**9),
        near=NodeId(near) if near else None,
    )


def waits(room: Room, state: DeskState, *phases: Wait) -> None:
    state.hears_of(phases, room.policy)
    room.wants(state, waiting=len(phases))


def test_a_claim_goes_where_there_is_most_room() -> None:
    room = Room()
    room.node("small")
    room.node("large", Resources(gpu_milli=3_000))
    room.desk("planner", waiting=3)
    assert room.offered() == [("planner", "large"), ("planner", "large"), ("planner", "small")]


def test_a_phase_that_waits_comes_before_offers_held_ahead() -> None:
    room = Room()
    room.node("n1")
    room.desk("ahead", ahead=1)
    room.desk("waits", waiting=1)
    assert room.offered() == [("waits", "n1")]


def test_agents_with_less_are_served_first() -> None:
    room = Room()
    room.node("n1", Resources(gpu_milli=3_000))
    room.desk("checker", HALF, waiting=6)
    room.desk("planner", HALF, waiting=6)
    assert [desk for desk, _ in room.offered()] == ["checker", "planner"] * 3


def test_what_a_claim_is_told_depends_on_whether_a_phase_waits() -> None:
    room = Room()
    room.node("n1", Resources(gpu_milli=2_000))
    planner = room.desk("planner", ahead=1)
    waits(room, planner, phase("turn-1"))
    room.wants(planner, waiting=1, ahead=1)
    room.offered()
    assert [offer.meant_for for offer in room.offers] == ["turn-1", None]


def test_a_desk_is_offered_no_more_than_the_bound() -> None:
    room = Room(offers_max=2)
    room.node("n1", Resources(gpu_milli=9_000))
    room.desk("hoarder", waiting=5, ahead=5)
    assert len(room.offered()) == 2


def test_a_kind_that_found_no_room_is_not_tried_again() -> None:
    room = Room()
    part = room.node("n1", HALF)
    room.node("n2", Resources(gpu_milli=1_000, cpu_milli=1))  # large enough, but full
    room.desk("planner", waiting=2)
    assert room.offered() == [("planner", "n2")]
    # room that nobody told of stays unfound, which shows that nobody looks
    other = next(iter(room.ledger.rooms.of(NodeId("n2"))))
    other.free = other.capacity
    other.shelf.changed(other)
    assert room.offered() == []
    room.ledger.grown[other] = None
    assert room.offered() == [("planner", "n2")]
    assert part.free == HALF


def test_room_that_is_made_wakes_those_who_wait_for_it() -> None:
    room = Room()
    room.node("n1")
    room.desk("checker", waiting=1)
    assert room.offered() == [("checker", "n1")]
    room.desk("planner", waiting=1)
    assert room.offered() == []
    room.wants(room.dispatch.desks[DeskId("checker")])
    room.give_back("checker")
    assert room.offered() == [("planner", "n1")]


def test_room_that_is_too_small_wakes_nobody() -> None:
    room = Room()
    room.node("n1")
    small = room.desk("small", HALF, waiting=2)
    assert len(room.offered()) == 2
    planner = room.desk("planner", waiting=1)
    assert room.offered() == []
    room.wants(small)
    room.give_back("small")
    assert room.offered() == []
    assert room.kind_of(planner).full
    room.give_back("small")
    assert room.offered() == [("planner", "n1")]


def test_a_new_node_wakes_those_who_may_use_it() -> None:
    room = Room()
    room.node("n1", model="small")
    room.desk("planner", waiting=1, where=LARGE)
    assert room.offered() == []
    room.node("n2", model="small")
    assert room.offered() == []
    room.node("n3", model="large")
    assert room.offered() == [("planner", "n3")]


def test_a_desk_that_refuses_the_only_node_lets_others_of_its_kind_pass() -> None:
    room = Room(FirstCome())
    room.node("n1", Resources(gpu_milli=2_000))
    picky = room.desk("agent-1", waiting=1)
    picky.refuse(NodeId("n1"), Instant(100), most=8)
    room.desk("agent-2", waiting=1)
    assert room.offered() == [("agent-2", "n1")]
    assert list(room.kind_of(picky).picky) == ["agent-1"]
    assert not room.kind_of(picky).full


def test_a_picky_desk_is_tried_again_when_its_refusal_has_ended() -> None:
    room = Room()
    room.node("n1")
    picky = room.desk("agent-1", waiting=1)
    picky.refuse(NodeId("n1"), Instant(100), most=8)
    assert room.offered() == []
    room.now = 100
    picky.refused_until.clear()
    room.dispatch.no_longer_picky(picky.desk)
    assert room.offered() == [("agent-1", "n1")]


def test_a_picky_desk_is_tried_again_when_there_is_room_that_it_does_not_refuse() -> None:
    room = Room()
    room.node("n1")
    picky = room.desk("agent-1", waiting=1)
    picky.refuse(NodeId("n1"), Instant(100), most=8)
    assert room.offered() == []
    room.node("n2")
    assert room.offered() == [("agent-1", "n2")]


def half_taken() -> tuple[Room, DeskState]:
    """Return a room with half a node free, and a desk whose phase waits for a whole one."""
    room = Room()
    room.node("n1")
    room.desk("half", HALF, waiting=1)
    assert room.offered() == [("half", "n1")]
    large = room.desk("large", GPU, waiting=1)
    assert room.offered() == []
    return room, large


def test_where_a_phase_waits_in_vain_nothing_is_held_ahead() -> None:
    room, _ = half_taken()
    small = room.desk("small", HALF, ahead=1)
    assert room.offered() == []
    room.wants(small, waiting=1)
    assert room.offered() == [("small", "n1")], "a phase that waits may use what the other cannot"


def test_a_node_too_small_for_the_phase_in_vain_is_not_kept_for_it() -> None:
    room, _ = half_taken()
    room.node("tiny", HALF)
    room.desk("small", HALF, ahead=2)
    assert room.offered() == [("small", "tiny")]


def test_once_nobody_waits_in_vain_offers_are_held_ahead_again() -> None:
    room, large = half_taken()
    room.desk("small", HALF, ahead=1)
    assert room.offered() == []
    room.wants(large, waiting=0)
    assert room.offered() == [("small", "n1")]


def test_once_the_phase_in_vain_has_its_bundle_offers_are_held_ahead_again() -> None:
    room, _ = half_taken()
    room.desk("small", HALF, ahead=1)
    assert room.offered() == []
    room.node("n2")
    assert room.offered() == [("large", "n2"), ("small", "n1")]


def test_the_node_that_has_the_conversation_comes_before_the_one_with_most_room() -> None:
    room = Room()
    room.node("near")
    room.node("large", Resources(gpu_milli=3_000))
    planner = room.desk("planner")
    waits(room, planner, phase("turn-1", near="near"), phase("turn-2", asked=1))
    assert room.offered() == [("planner", "near"), ("planner", "large")]


def test_a_near_node_without_room_or_refused_is_not_waited_for() -> None:
    room = Room()
    room.node("near", HALF)
    room.node("large", Resources(gpu_milli=3_000))
    planner = room.desk("planner")
    waits(room, planner, phase("turn-1", near="near"))
    assert room.offered() == [("planner", "large")]
    picky = room.desk("checker", HALF)
    picky.refuse(NodeId("near"), Instant(100), most=8)
    waits(room, picky, phase("turn-2", near="near"))
    assert room.offered() == [("checker", "large")]


def test_what_is_reserved_for_a_role_is_used_first_and_by_nobody_else() -> None:
    room = Room()
    room.node("large", Resources(gpu_milli=9_000))
    room.ledger.add_node(NodeId("own"), GPU, {}, {RoleId("planner"): GPU})
    room.desk("planner", waiting=2)
    assert room.offered() == [("planner", "own"), ("planner", "large")]
    assert room.offers[0].reserved_for == "planner"
    room.give_back("planner")
    room.wants(room.dispatch.desks[DeskId("planner")], waiting=1)
    room.desk("checker", waiting=20)
    assert ("checker", "own") not in room.offered()


def test_a_role_with_its_first_reservation_is_of_another_kind() -> None:
    room = Room()
    planner = room.desk("planner", waiting=1)
    before = room.kind_of(planner)
    room.ledger.add_node(NodeId("own"), GPU, {}, {RoleId("planner"): GPU})
    room.dispatch.tell_kinds_anew()
    assert room.kind_of(planner) is not before
    assert room.offered() == [("planner", "own")]


def test_who_takes_less_is_offered_what_there_is() -> None:
    room = Room()
    room.node("n1", Resources(gpu_milli=1_400))
    room.desk("planner", waiting=2, least=Resources(gpu_milli=400))
    room.offered()
    assert [offer.bundle.gpu_milli for offer in room.offers] == [1_000, 400]


def test_a_filter_on_what_is_free_is_kept() -> None:
    room = Room()
    room.node("small")
    room.node("large", Resources(gpu_milli=2_000))
    roomy = NodeFilter(free_at_least=Resources(gpu_milli=1_500))
    room.desk("planner", HALF, waiting=9, where=roomy)
    assert room.offered() == [("planner", "large"), ("planner", "large")]


def test_a_suppressed_desk_is_offered_nothing() -> None:
    room = Room()
    room.node("n1")
    planner = room.desk("planner", waiting=1)
    planner.suppressed = True
    room.dispatch.changed(planner)
    assert room.offered() == []


def test_a_kind_goes_with_its_last_desk() -> None:
    room = Room()
    one, two = room.desk("agent-1"), room.desk("agent-2")
    room.dispatch.leave(one)
    assert len(room.dispatch.kinds) == 1
    room.dispatch.leave(two)
    assert room.dispatch.kinds == {}


def test_phases_that_wait_in_vain_are_counted_beyond_what_their_desks_hold() -> None:
    room = Room()
    room.node("n1")
    planner = room.desk("planner", waiting=3)
    room.offered()
    (kind,) = room.dispatch.kinds_full_and_waiting()
    assert kind is room.kind_of(planner)
    assert room.dispatch.unmet(kind) == 2


def test_another_policy_orders_those_who_stand_in_line_already() -> None:
    room = Room()
    room.node("n1", HALF)
    poor, late = room.desk("poor", HALF), room.desk("zealous", HALF)
    room.ledger.roles.book(late.agent, HALF, 1)
    waits(room, poor, phase("turn-2", asked=2))
    waits(room, late, phase("turn-1", asked=1))
    room.dispatch.policy = room.policy = FirstCome()
    room.dispatch.reorder()
    assert room.offered() == [("zealous", "n1")]
