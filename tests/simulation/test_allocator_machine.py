"""Random walks over the offer cycle, checked against a book kept only from what was said.

The book decides nothing by the ledger, it is only compared with it: a law that the ledger checks
against itself cannot fail.
"""

from copy import deepcopy
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordsvc.core.allocator import Allocator, Terms
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
from coordsvc.core.offers import TRANSITIONS, Grant, OfferState
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, Micros, NodeId, OfferId

TERMS = Terms(
    offer_lasts_us=Micros(2_000_000),
    offer_margin_us=Micros(100_000),
    offers_per_desk_max=6,
    refuse_for_max_us=Micros(3_000_000),
    weights={AgentId("planner"): 2},
)
AMOUNT = st.sampled_from([0, 1, 250, 500, 1_000])
BUNDLES = st.builds(Resources, gpu_milli=AMOUNT, cpu_milli=AMOUNT)
CAPACITIES = st.builds(Resources, gpu_milli=st.integers(0, 2_000), cpu_milli=st.integers(0, 2_000))
WAITS = st.integers(-100_000, 3_000_000)
NODES = st.sampled_from([NodeId(name) for name in ("n1", "n2", "n3")])
DESKS = st.sampled_from([DeskId(f"{a}{i}") for a in ("planner", "checker") for i in (1, 2)])
EPOCH = Epoch("walk", 2)
LONG_AGO = [OfferId((1 << 40) + number) for number in (1, 2, 3)]
NEVER = OfferId(7)


@dataclass
class Line:
    """What the book says of an offer that holds something."""

    node: NodeId
    desk: DeskId
    bundle: Resources
    state: OfferState


@dataclass
class Book:
    """Who was given what, by what the allocator said and by what it was told. Nothing else."""

    capacity: dict[NodeId, Resources] = field(default_factory=dict)
    lines: dict[OfferId, Line] = field(default_factory=dict)
    ended: set[OfferId] = field(default_factory=set)
    asked: set[OfferId] = field(default_factory=set)

    def note(self, effect: Effect, event: Event, now: Instant) -> None:
        match effect:
            case SendOffer(offer, ticket):
                assert offer.offer_id not in self.lines, "a bundle is given once"
                assert offer.offer_id not in self.ended, "an id is used once"
                assert offer.offer_id > max(self.lines.keys() | self.ended, default=0)
                assert offer.expires_at > now + ticket.lasts, "the desk's count ends first"
                self.lines[offer.offer_id] = Line(
                    offer.node, offer.desk, offer.bundle, OfferState.ISSUED
                )
            case Granted(offer):
                self._move(offer.offer_id, OfferState.ACCEPTED)
                line = self.lines[offer.offer_id]
                assert line.bundle.covers(offer.bundle), "a grant is no larger than its offer"
                line.bundle = offer.bundle
            case Void(offer):
                self.asked.add(offer.offer_id)
                if self.lines[offer.offer_id].state is OfferState.ISSUED:
                    self._move(offer.offer_id, OfferState.VOIDING)
            case Withdraw(offer):
                assert self.lines[offer.offer_id].state is OfferState.ISSUED
            case Freed(offer):
                line = self.lines.pop(offer.offer_id)  # so: held, and freed once
                assert offer.bundle == line.bundle, "what is freed is what was held"
                assert effect.end in TRANSITIONS[line.state]
                assert is_word_on(event, offer.offer_id, line.node), f"{event} freed {offer}"
                self.ended.add(offer.offer_id)
                self.asked.discard(offer.offer_id)
            case Refused():
                pass

    def _move(self, offer_id: OfferId, state: OfferState) -> None:
        assert state in TRANSITIONS[self.lines[offer_id].state]
        self.lines[offer_id].state = state

    def given_out(self, node: NodeId) -> Resources:
        bundles = (line.bundle for line in self.lines.values() if line.node == node)
        return sum(bundles, start=Resources())


def is_word_on(event: Event, offer_id: OfferId, node: NodeId) -> bool:
    """Tell whether the event is somebody's word that nothing runs under the offer, nor will.

    The engine's, that is, or its death; or the desk's, for an offer that it never started.
    """
    match event:
        case Finished(about) | Declined(about) | Voided(about, False):
            return about == offer_id
        case Reconciled(there, _, finished):
            return there == node and offer_id in finished
        case NodeLost(there):
            return there == node
        case _:
            return False


class AllocatorMachine(RuleBasedStateMachine):
    """Tells an allocator anything, true or absurd, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = Allocator(epoch=EPOCH, terms=TERMS)
        self.now = Instant(0)
        self.book = Book()

    def tell(self, event: Event) -> list[Effect]:
        policy = self.allocator.policy
        twin = deepcopy(self.allocator, {id(policy): policy})
        effects = self.allocator.handle(self.now, event)
        for effect in effects:
            self.book.note(effect, event, self.now)
        refusals = [effect for effect in effects if isinstance(effect, Refused)]
        if refusals:
            assert [refusal.event for refusal in refusals] == [event]
            others = [effect for effect in effects if not isinstance(effect, Refused)]
            assert others == twin.handle(self.now, Ticked()), "a refused event did something"
            assert self.allocator == twin, "a refused event changed something"
        return effects

    def some_offer(self, data: st.DataObject) -> OfferId:
        """Return an offer, most often one that holds something."""
        strange = [*LONG_AGO, NEVER, *sorted(self.book.ended)[-3:]]
        return data.draw(st.sampled_from([*sorted(self.book.lines) * 4, *strange]))

    @initialize(bundle=BUNDLES.filter(bool), waiting=st.integers(0, 2), ahead=st.integers(0, 2))
    def begin(self, bundle: Resources, waiting: int, ahead: int) -> None:
        """Begin with an engine and two desks, or most of what follows is refused."""
        whole = Resources(gpu_milli=1_500, cpu_milli=1_500)
        self.book.capacity[NodeId("n1")] = whole
        self.tell(NodeJoined(NodeId("n1"), whole))
        for desk in (DeskId("planner1"), DeskId("checker1")):
            self.tell(DeskJoined(desk, AgentId(desk[:-1]), bundle))
            self.tell(Wanted(desk, waiting, ahead))

    @rule(node=NODES, capacity=CAPACITIES, old=st.sets(st.sampled_from(LONG_AGO)))
    def node_joins(self, node: NodeId, capacity: Resources, old: set[OfferId]) -> None:
        grants: list[Grant] = []
        room = capacity
        for offer_id in sorted(old - self.book.lines.keys()):
            bundle = Resources(gpu_milli=250)
            if node not in self.book.capacity and room.covers(bundle):
                room -= bundle
                desk = DeskId("planner1")
                self.book.lines[offer_id] = Line(node, desk, bundle, OfferState.VOIDING)
                grants.append(
                    Grant(
                        epoch=Epoch("walk", 1),
                        offer_id=offer_id,
                        use=1,
                        node=node,
                        agent=AgentId("planner"),
                        desk=desk,
                        bundle=bundle,
                    )
                )
        self.book.capacity.setdefault(node, capacity)
        self.tell(NodeJoined(node, capacity, {}, tuple(grants)))
        assert all(self.book.lines[g.offer_id].state is OfferState.ACCEPTED for g in grants)

    @rule(node=NODES)
    def node_is_lost(self, node: NodeId) -> None:
        self.tell(NodeLost(node))
        assert not self.book.given_out(node)
        self.book.capacity.pop(node, None)

    @rule(desk=DESKS, bundle=BUNDLES)
    def desk_joins(self, desk: DeskId, bundle: Resources) -> None:
        self.tell(DeskJoined(desk, AgentId(desk[:-1]), bundle))

    @rule(desk=DESKS)
    def desk_is_lost(self, desk: DeskId) -> None:
        self.tell(DeskLost(desk))
        held = [line.state for line in self.book.lines.values() if line.desk == desk]
        assert OfferState.ISSUED not in held

    @rule(desk=DESKS, waiting=st.integers(-1, 9), ahead=st.integers(0, 9))
    def desk_wants(self, desk: DeskId, waiting: int, ahead: int) -> None:
        self.tell(Wanted(desk, waiting, ahead))

    @rule(wait=WAITS)
    def time_passes(self, wait: int) -> None:
        """Mostly forwards."""
        self.now = Instant(max(0, self.now + wait))
        self.tell(Ticked())

    @rule(data=st.data(), wait=st.sampled_from([0, 0, 2_500_000]), used=BUNDLES)
    def desk_accepts(self, data: st.DataObject, wait: int, used: Resources) -> None:
        offer_id = self.some_offer(data)
        self.now = Instant(self.now + wait)
        if data.draw(st.booleans()) and offer_id in self.book.lines:
            used = self.book.lines[offer_id].bundle
        self.tell(Accepted(offer_id, used))

    @rule(data=st.data(), refuse_for=WAITS)
    def desk_declines(self, data: st.DataObject, refuse_for: int) -> None:
        self.tell(Declined(self.some_offer(data), Micros(max(0, refuse_for))))

    @rule(data=st.data())
    def desk_tells_of_an_end(self, data: st.DataObject) -> None:
        self.tell(Finished(self.some_offer(data)))

    @rule(data=st.data(), was_started=st.booleans())
    def engine_answers(self, data: st.DataObject, was_started: bool) -> None:
        self.tell(Voided(self.some_offer(data), was_started))

    @precondition(lambda self: self.book.asked)
    @rule(data=st.data(), was_started=st.booleans())
    def engine_answers_what_it_was_asked(self, data: st.DataObject, was_started: bool) -> None:
        offer_id = data.draw(st.sampled_from(sorted(self.book.asked)))
        self.tell(Voided(offer_id, was_started))
        assert was_started or offer_id not in self.book.lines

    @rule(data=st.data(), node=NODES)
    def engine_reports(self, data: st.DataObject, node: NodeId) -> None:
        here = [offer_id for offer_id, line in self.book.lines.items() if line.node == node]
        some = st.sets(st.sampled_from([*sorted(here), NEVER]))
        running, finished = data.draw(some), data.draw(some)
        event = Reconciled(node, frozenset(running - finished), tuple(sorted(finished)))
        effects = self.tell(event)
        if not any(isinstance(effect, Refused) for effect in effects):
            assert not finished & self.book.lines.keys()

    @invariant()
    def no_node_gives_out_more_than_it_has(self) -> None:
        for node, capacity in self.book.capacity.items():
            assert capacity.covers(self.book.given_out(node))
        assert {line.node for line in self.book.lines.values()} <= self.book.capacity.keys()

    @invariant()
    def the_book_agrees_with_the_ledger(self) -> None:
        ledger = self.allocator.ledger
        said = {o.offer_id: (o.node, o.bundle, o.state) for o in ledger.offers.values()}
        assert said == {i: (b.node, b.bundle, b.state) for i, b in self.book.lines.items()}
        assert ledger.capacity == self.book.capacity
        ledger.check()

    def teardown(self) -> None:
        """See that nothing has leaked: when all have answered, all is free."""
        for desk in list(self.allocator.desks):
            self.tell(DeskLost(desk))
        for offer_id, line in list(self.book.lines.items()):
            asked = line.state is OfferState.VOIDING
            self.tell(Voided(offer_id, was_started=False) if asked else Finished(offer_id))
        assert not self.book.lines
        assert self.allocator.ledger.free == self.book.capacity


TestAllocatorMachine = AllocatorMachine.TestCase
TestAllocatorMachine.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # to explain takes minutes
)
