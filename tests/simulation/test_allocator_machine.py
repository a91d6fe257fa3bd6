"""Random walks over the offer cycle, checked against a book kept only from what was said.

The book decides nothing by the ledger, it is only compared with it: a law that the ledger checks
against itself cannot fail.
"""

from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordsvc.core.allocator import Allocator
from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.hindsight.snapshot import restore, snapshot
from coordsvc.core.messages import (
    Accepted,
    AskBack,
    Declined,
    DeskJoined,
    DeskLost,
    Drained,
    Effect,
    Event,
    Finished,
    Freed,
    GangGivenUp,
    GangRefused,
    GangWanted,
    Granted,
    Held,
    Member,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Preempt,
    Reconciled,
    Refused,
    Revived,
    SendOffer,
    Suppressed,
    TermsChanged,
    Ticked,
    Void,
    Voided,
    Wanted,
    Withdraw,
)
from coordsvc.core.offers import TRANSITIONS, Grant, Offer, OfferState
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
)

TERMS = Terms(
    offer_lasts_us=Micros(2_000_000),
    offer_margin_us=Micros(100_000),
    offers_per_desk_max=6,
    refuse_for_max_us=Micros(3_000_000),
    roles={RoleId("planner"): RoleTerms(weight=2)},
    gang_hold_us=Micros(300_000),
    ask_back_us=Micros(400_000),
)
HALF = Resources(gpu_milli=500)
ROLES = st.fixed_dictionaries(
    {
        RoleId("planner"): st.builds(
            RoleTerms,
            weight=st.integers(1, 3),
            guarantee=st.sampled_from([Resources(), HALF]),
            limit=st.sampled_from([None, Resources(gpu_milli=1_000, cpu_milli=1_000)]),
        ),
        RoleId("checker"): st.builds(
            RoleTerms, limit=st.sampled_from([None, Resources(gpu_milli=500, cpu_milli=2_000)])
        ),
    }
)
PARTITION = {RoleId("planner"): 1, RoleId("checker"): 1}
PLAN = ((0, AgentId("planner")), (1, AgentId("checker")), (0, AgentId("checker")))
FILTERS = st.sampled_from([ANY_NODE, NodeFilter.requiring({"adapter": "x"})])
GANGS = st.sampled_from([GangId("g1"), GangId("g2")])
AMOUNT = st.sampled_from([0, 1, 250, 500, 1_000])
BUNDLES = st.builds(Resources, gpu_milli=AMOUNT, cpu_milli=AMOUNT)
CAPACITIES = st.builds(Resources, gpu_milli=st.integers(0, 2_000), cpu_milli=st.integers(0, 2_000))
WAITS = st.integers(-100_000, 3_000_000)
NODES = st.sampled_from([NodeId(name) for name in ("n1", "n2", "n3")])
DESKS = st.sampled_from([DeskId(f"{a}{i}") for a in ("planner", "checker") for i in (1, 2)])
EPOCH = Epoch("walk", 2)
LONG_AGO = [OfferId((1 << 40) + number) for number in (1, 2, 3)]
NEVER = OfferId(7)
NEWS_OF_NOBODY = Voided(NEVER, was_started=False)
"""Refused by any allocator; but time passes."""


@dataclass
class Line:
    """What the book says of an offer that holds something."""

    node: NodeId
    desk: DeskId
    bundle: Resources
    state: OfferState
    agent: AgentId = AgentId("planner")
    gang: GangId | None = None
    lent: bool = False


@dataclass
class Book:
    """Who was given what, by what the allocator said and by what it was told. Nothing else."""

    capacity: dict[NodeId, Resources] = field(default_factory=dict)
    lines: dict[OfferId, Line] = field(default_factory=dict)
    ended: set[OfferId] = field(default_factory=set)
    asked: set[OfferId] = field(default_factory=set)
    draining: dict[NodeId, bool] = field(default_factory=dict)
    """Whether what runs there is to be ended."""
    terms: Terms = TERMS
    gangs: dict[GangId, GangWanted] = field(default_factory=dict)
    """Those that wait."""
    suits: dict[DeskId, NodeFilter] = field(default_factory=dict)
    attributes: dict[NodeId, dict[str, str]] = field(default_factory=dict)

    def told(self, event: Event) -> None:
        """Take what an event says that was not refused."""
        match event:
            case NodeJoined(node, _, attributes):
                self.attributes[node] = dict(attributes)
            case NodeLost(node) | NodeReopened(node):
                self.draining.pop(node, None)
            case NodeDraining(node, _, preempt):
                self.draining[node] = preempt
            case DeskJoined(desk, where=where):
                self.suits[desk] = where
            case DeskLost(desk):
                self.gangs = {g: one for g, one in self.gangs.items() if one.desk != desk}
            case GangWanted(gang):
                self.gangs[gang] = event
            case GangGivenUp(gang):
                del self.gangs[gang]
            case TermsChanged(terms):
                self.terms = terms
            case _:
                pass

    def laws_of_an_offer(self, offers: list[Offer]) -> None:
        """Check what was offered in answer to one event: all of it is in the book by now."""
        together: dict[GangId, list[Offer]] = {}
        for offer in offers:
            assert offer.node not in self.draining, "nothing is offered on a draining node"
            limit = self.terms.roles.get(RoleId(offer.agent), RoleTerms()).limit
            held = (line.bundle for line in self.lines.values() if line.agent == offer.agent)
            assert limit is None or limit.covers(sum(held, start=Resources())), "within its limit"
            if offer.gang is not None:
                together.setdefault(offer.gang, []).append(offer)
            else:
                assert self.suits[offer.desk].suits(self.attributes[offer.node])
        for gang, offered in together.items():
            for member in self.gangs.pop(gang).members:
                fit = [one for one in offered if one.agent == member.agent]
                assert member.least <= len(fit) <= member.most, "a gang is offered all or none"

    def note(self, effect: Effect, event: Event, now: Instant) -> None:
        match effect:
            case SendOffer(offer, ticket):
                assert offer.offer_id not in self.lines, "a bundle is given once"
                assert offer.offer_id not in self.ended, "an id is used once"
                newest = max(self.lines.keys() | self.ended, default=0)
                assert offer.offer_id > newest or offer.gang, "ids rise, as bundles are set aside"
                assert offer.expires_at > now + ticket.lasts, "the desk's count ends first"
                self.lines[offer.offer_id] = Line(
                    offer.node,
                    offer.desk,
                    offer.bundle,
                    OfferState.ISSUED,
                    offer.agent,
                    offer.gang,
                    offer.revocable,
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
            case Preempt(offer):
                line = self.lines[offer.offer_id]
                assert line.lent or self.draining.get(line.node), "only what was lent, or drains"
            case Drained(node):
                assert not self.given_out(node)
            case GangRefused(gang):
                assert isinstance(event, GangWanted)
                assert event.gang == gang
            case AskBack(offer):
                line = self.lines[offer.offer_id]
                assert line.state is OfferState.ACCEPTED
                assert line.lent or line.node in self.draining
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


def without_refusals(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Refused | GangRefused)]


class AllocatorMachine(RuleBasedStateMachine):
    """Tells an allocator anything, true or absurd, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = Allocator(epoch=EPOCH, terms=TERMS)
        self.now = Instant(0)
        self.book = Book()

    def tell(self, event: Event) -> list[Effect]:
        twin = restore(snapshot(self.allocator))
        effects = self.allocator.handle(self.now, event)
        if not any(isinstance(effect, Refused) for effect in effects):
            self.book.told(event)
        for effect in effects:
            self.book.note(effect, event, self.now)
        self.book.laws_of_an_offer([one.offer for one in effects if isinstance(one, SendOffer)])
        refusals = [effect for effect in effects if isinstance(effect, Refused)]
        if refusals:
            assert [refusal.event for refusal in refusals] == [event]
            news = twin.handle(self.now, NEWS_OF_NOBODY)
            assert without_refusals(effects) == without_refusals(news), "it did something"
            met = {"limits_met": None}  # that a bound was reached is counted
            assert snapshot(self.allocator) | met == snapshot(twin) | met, "it changed something"
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

    @rule(
        node=NODES,
        capacity=CAPACITIES,
        old=st.sets(st.sampled_from(LONG_AGO)),
        adapter=st.sampled_from(["x", "y", "x y"]),
        reserves=st.booleans(),
    )
    def node_joins(
        self,
        node: NodeId,
        capacity: Resources,
        old: set[OfferId],
        adapter: str,
        reserves: bool,
    ) -> None:
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
        reserved = {RoleId("planner"): HALF} if reserves and capacity.covers(HALF) else {}
        self.tell(NodeJoined(node, capacity, {"adapter": adapter}, tuple(grants), reserved))
        assert all(self.book.lines[g.offer_id].state is OfferState.ACCEPTED for g in grants)

    @rule(node=NODES)
    def node_is_lost(self, node: NodeId) -> None:
        self.tell(NodeLost(node))
        assert not self.book.given_out(node)
        self.book.capacity.pop(node, None)

    @rule(node=NODES, within=st.integers(0, 900_000), preempt=st.booleans())
    def node_drains(self, node: NodeId, within: int, preempt: bool) -> None:
        self.tell(NodeDraining(node, Micros(within), preempt))

    @rule(node=NODES)
    def node_reopens(self, node: NodeId) -> None:
        self.tell(NodeReopened(node))

    @rule(
        desk=DESKS,
        bundle=BUNDLES,
        least=st.sampled_from([None, Resources(gpu_milli=1)]),
        where=FILTERS,
    )
    def desk_joins(
        self, desk: DeskId, bundle: Resources, least: Resources | None, where: NodeFilter
    ) -> None:
        self.tell(DeskJoined(desk, AgentId(desk[:-1]), bundle, least, where))

    @rule(desk=DESKS, again=st.booleans())
    def desk_suppresses_or_revives(self, desk: DeskId, again: bool) -> None:
        effects = self.tell(Revived(desk) if again else Suppressed(desk))
        sent = [one.offer for one in effects if isinstance(one, SendOffer) and not one.offer.gang]
        assert again or desk not in {offer.desk for offer in sent}

    @rule(data=st.data(), desk=DESKS)
    def desk_says_what_it_holds(self, data: st.DataObject, desk: DeskId) -> None:
        issued = [
            offer_id
            for offer_id, line in self.book.lines.items()
            if line.desk == desk and line.state is OfferState.ISSUED
        ]
        known = data.draw(st.sets(st.sampled_from([*issued, NEVER])))
        joined = desk in self.allocator.desks
        self.tell(Held(desk, frozenset(known)))
        for offer_id in set(issued) - known if joined else ():
            assert self.book.lines[offer_id].state is OfferState.VOIDING

    @rule(
        gang=GANGS,
        desk=DESKS,
        agents=st.permutations(["planner", "checker"]),
        members=st.integers(1, 2),
        least=st.integers(0, 2),
        bundle=BUNDLES,
        where=FILTERS,
    )
    def gang_is_wanted(
        self,
        gang: GangId,
        desk: DeskId,
        agents: list[str],
        members: int,
        least: int,
        bundle: Resources,
        where: NodeFilter,
    ) -> None:
        wanted = tuple(
            Member(agent=AgentId(agent), bundle=bundle, least=least, most=least + 1, where=where)
            for agent in agents[:members]
        )
        self.tell(GangWanted(gang, desk, wanted))

    @rule(gang=GANGS)
    def gang_is_given_up(self, gang: GangId) -> None:
        self.tell(GangGivenUp(gang))

    @rule(roles=ROLES, policy=st.sampled_from([*NAMES, "luck"]))
    def terms_change(self, roles: dict[RoleId, RoleTerms], policy: str) -> None:
        named = PolicyTerms(name=policy, partition=PARTITION, plan=PLAN)
        self.tell(TermsChanged(replace(TERMS, roles=roles, policy=named)))

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
        told = (o for o in ledger.offers.values() if o.state is not OfferState.GATHERED)
        said = {o.offer_id: (o.node, o.bundle, o.state) for o in told}
        assert said == {i: (b.node, b.bundle, b.state) for i, b in self.book.lines.items()}
        assert ledger.capacity == self.book.capacity
        ledger.check()

    @invariant()
    def what_is_set_aside_for_a_gang_is_so_for_a_bounded_time(self) -> None:
        for offer in self.allocator.ledger.offers.values():
            if offer.state is OfferState.GATHERED:
                assert offer.gang in self.book.gangs
                assert self.allocator.now - offer.since < TERMS.gang_hold_us

    def teardown(self) -> None:
        """See that nothing has leaked: when all have answered, all is free."""
        for desk in list(self.allocator.desks):
            self.tell(DeskLost(desk))
        for offer_id, line in list(self.book.lines.items()):
            asked = line.state is OfferState.VOIDING
            self.tell(Voided(offer_id, was_started=False) if asked else Finished(offer_id))
        assert not self.book.lines
        ledger = self.allocator.ledger
        assert {node: ledger.free(node) for node in ledger.capacity} == self.book.capacity


TestAllocatorMachine = AllocatorMachine.TestCase
TestAllocatorMachine.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # to explain takes minutes
)
