"""Allocators, desks and engines together: no reservation is ever broken, and nothing leaks.

`world.py` says who talks to whom, and what may be late, lost, doubled or out of order.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordsvc.core.allocator import Allocator
from coordsvc.core.desk import Desk
from coordsvc.core.guard import Guard, Refusal
from coordsvc.core.messages import DeskJoined, Member, NodeJoined, SendOffer, Wanted
from coordsvc.core.offers import Grant, Offer
from coordsvc.core.resources import Resources
from coordsvc.core.terms import DeskTerms
from coordsvc.core.units import SECOND, AgentId, DeskId, Epoch, Instant, Micros, NodeId
from tests.simulation.world import REPEATABLE, Ending, Message, World

GPU, HALF, QUARTER = (Resources(gpu_milli=amount) for amount in (1_000, 500, 250))
CAPACITIES = st.sampled_from([GPU, Resources(gpu_milli=750), HALF])
AGENTS = st.sampled_from(["planner", "responder"])
BUNDLES = st.sampled_from([QUARTER, HALF])
MOMENTS = st.integers(1, 50_000)
LONG_WAITS = st.integers(500_000, 4_000_000)
NODES_MAX, DESKS_MAX, TAKEOVERS_MAX = 3, 4, 4


class WholeLoop(RuleBasedStateMachine):
    """Chance decides who acts and which message arrives; the core decides everything else."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def any_desk(self, data: st.DataObject) -> Desk:
        return self.world.desks[data.draw(st.sampled_from(sorted(self.world.desks)))]

    def any_node(self, data: st.DataObject) -> NodeId:
        return data.draw(st.sampled_from(sorted(self.world.guards)))

    def any_message(self, data: st.DataObject) -> Message:
        """Take a message out of the post; the oldest as likely as all the others together."""
        post = self.world.post
        oldest = data.draw(st.booleans())
        return post.pop(0 if oldest else data.draw(st.integers(0, len(post) - 1)))

    @initialize(capacity=CAPACITIES, bundle=BUNDLES)
    def begin(self, capacity: Resources, bundle: Resources) -> None:
        """Begin with an allocator, an engine and a desk that know each other."""
        world = self.world
        world.allocator_starts()
        world.node_asks_to_join(world.node_starts(capacity))
        world.desk_starts("planner", bundle)
        for desk in world.desks.values():
            world.desk_reports(desk)
            world.drain()
            world.desk_reports(desk)
        world.drain()

    # Messages

    @rule(moment=MOMENTS)
    def all_messages_arrive(self, moment: int) -> None:
        """In order, and whatever they cause arrives as well."""
        self.world.drain()
        self.world.time_passes(moment)

    @precondition(lambda self: self.world.post)
    @rule(data=st.data(), several=st.integers(1, 6))
    def messages_arrive(self, data: st.DataObject, several: int) -> None:
        for _ in range(min(several, len(self.world.post))):
            self.world.deliver(self.any_message(data))

    @precondition(lambda self: self.world.post)
    @rule(data=st.data())
    def a_message_is_lost(self, data: st.DataObject) -> None:
        self.world.lose(self.any_message(data))

    @precondition(lambda self: any(isinstance(m, REPEATABLE) for m in self.world.post))
    @rule(data=st.data())
    def a_message_is_doubled(self, data: st.DataObject) -> None:
        messages = [m for m in self.world.post if isinstance(m, REPEATABLE)]
        self.world.post.append(messages[data.draw(st.integers(0, len(messages) - 1))])

    # Desks

    @precondition(lambda self: self.world.desks)
    @rule(data=st.data(), used=st.sampled_from([QUARTER, HALF]), several=st.integers(1, 3))
    def phases_arrive(self, data: st.DataObject, used: Resources, several: int) -> None:
        desk = self.any_desk(data)
        for _ in range(several):
            self.world.phase_arrives(desk, used if desk.bundle.covers(used) else desk.bundle)

    @precondition(lambda self: self.world.desks)
    @rule(data=st.data())
    def a_desk_reports(self, data: st.DataObject) -> None:
        self.world.desk_reports(self.any_desk(data))

    @precondition(lambda self: self.world.desks)
    @rule(used=st.sampled_from([QUARTER, HALF]), moment=MOMENTS)
    def business_as_usual(self, used: Resources, moment: int) -> None:
        """Every desk gets offers and starts a phase; the engines run them."""
        world = self.world
        for _ in range(2):
            for desk in world.desks.values():
                world.desk_reports(desk)
            world.drain()
        for desk in world.desks.values():
            world.phase_arrives(desk, used if desk.bundle.covers(used) else desk.bundle)
        world.drain()
        world.time_passes(moment)

    @precondition(lambda self: self.world.desks)
    @rule(data=st.data())
    def a_desk_loses_patience(self, data: st.DataObject) -> None:
        """Whatever the reason: the allocator may be well, and only slow."""
        self.any_desk(data).fell_silent()

    @precondition(lambda self: len(self.world.desks) < DESKS_MAX)
    @rule(agent=AGENTS, bundle=BUNDLES)
    def a_desk_starts(self, agent: str, bundle: Resources) -> None:
        self.world.desk_starts(agent, bundle)

    @precondition(lambda self: len(self.world.desks) > 1)
    @rule(data=st.data())
    def a_desk_dies(self, data: st.DataObject) -> None:
        del self.world.desks[self.any_desk(data).desk]

    @precondition(lambda self: self.world.lines)
    @rule(data=st.data())
    def the_allocator_believes_a_desk_dead(self, data: st.DataObject) -> None:
        self.world.desk_out_of_sight(data.draw(st.sampled_from(sorted(self.world.lines))))

    # Gangs, and what is asked back

    @precondition(lambda self: self.world.desks)
    @rule(data=st.data(), bundle=BUNDLES, least=st.integers(1, 2), more=st.integers(0, 1))
    def a_gang_is_wanted(
        self, data: st.DataObject, bundle: Resources, least: int, more: int
    ) -> None:
        """Of one agent's bundles and one of the other's, at the same time."""
        members = (
            Member(agent=AgentId("planner"), bundle=bundle, least=least, most=least + more),
            Member(agent=AgentId("responder"), bundle=QUARTER),
        )
        self.world.gang_is_wanted(self.any_desk(data), members)

    @precondition(lambda self: any(desk.gangs.wanted for desk in self.world.desks.values()))
    @rule(data=st.data())
    def a_gang_is_given_up(self, data: st.DataObject) -> None:
        desk = self.any_desk(data)
        if desk.gangs.wanted:
            gang = data.draw(st.sampled_from(sorted(desk.gangs.wanted)))
            self.world.gang_is_given_up(desk, gang)

    @precondition(lambda self: any(desk.asked_back for desk in self.world.desks.values()))
    @rule(data=st.data())
    def a_desk_ends_what_is_asked_back(self, data: st.DataObject) -> None:
        self.world.desk_obeys(self.any_desk(data))

    @precondition(lambda self: self.world.joined - self.world.draining)
    @rule(data=st.data(), within=MOMENTS, preempt=st.booleans())
    def an_engine_drains(self, data: st.DataObject, within: int, preempt: bool) -> None:
        open_ones = sorted(self.world.joined - self.world.draining)
        node = data.draw(st.sampled_from(open_ones))
        self.world.node_drains(node, Micros(within), preempt=preempt)

    @precondition(lambda self: self.world.draining)
    @rule(data=st.data())
    def an_engine_is_offered_again(self, data: st.DataObject) -> None:
        self.world.node_reopens(data.draw(st.sampled_from(sorted(self.world.draining))))

    # Engines

    @precondition(lambda self: any(True for _ in self.world.running()))
    @rule(data=st.data())
    def a_phase_ends(self, data: st.DataObject) -> None:
        running = list(self.world.running())
        self.world.phase_ends(*running[data.draw(st.integers(0, len(running) - 1))])

    @rule()
    def all_phases_end(self) -> None:
        for guard, grant in list(self.world.running()):
            self.world.phase_ends(guard, grant)

    @precondition(lambda self: self.world.guards)
    @rule(data=st.data())
    def an_engine_reports(self, data: st.DataObject) -> None:
        self.world.engine_reports(self.any_node(data))

    @precondition(lambda self: len(self.world.guards) < NODES_MAX)
    @rule(capacity=CAPACITIES)
    def an_engine_starts(self, capacity: Resources) -> None:
        self.world.node_asks_to_join(self.world.node_starts(capacity))

    @precondition(lambda self: self.world.guards)
    @rule(data=st.data())
    def an_engine_asks_to_be_joined(self, data: st.DataObject) -> None:
        self.world.node_asks_to_join(self.any_node(data))

    @precondition(lambda self: len(self.world.guards) > 1)
    @rule(data=st.data())
    def an_engine_dies(self, data: st.DataObject) -> None:
        self.world.node_dies(self.any_node(data))

    @precondition(lambda self: self.world.joined)
    @rule(data=st.data())
    def the_allocator_believes_an_engine_dead(self, data: st.DataObject) -> None:
        """Sometimes it is; sometimes the line was, and the engine asks to be joined again."""
        node = data.draw(st.sampled_from(sorted(self.world.joined)))
        self.world.node_out_of_sight(node)
        if node in self.world.guards and data.draw(st.booleans()):
            self.world.node_asks_to_join(node)

    # The allocator and time

    @precondition(lambda self: self.world.epochs < TAKEOVERS_MAX)
    @rule(at_once=st.booleans())
    def the_allocator_dies(self, at_once: bool) -> None:
        self.world.allocator_dies()
        if at_once:
            self.the_allocator_is_replaced()

    @precondition(lambda self: self.world.allocator is None)
    @rule()
    def the_allocator_is_replaced(self) -> None:
        self.world.allocator_starts()
        for node in self.world.guards:
            self.world.node_asks_to_join(node)

    @rule(wait=LONG_WAITS)
    def time_passes(self, wait: int) -> None:
        """Long enough for offers to run out."""
        self.world.time_passes(wait)

    # What must hold

    @invariant()
    def no_reservation_is_broken(self) -> None:
        assert self.world.broken_reservations() == 0

    @invariant()
    def no_engine_runs_more_than_it_has(self) -> None:
        for guard in self.world.guards.values():
            running = sum((grant.bundle for grant in guard.running()), start=Resources())
            assert guard.capacity.covers(running)

    def teardown(self) -> None:
        """After everything has come to rest, all is free, and all of it can be granted again."""
        world = self.world
        world.come_to_rest()
        assert world.broken_reservations() == 0
        allocator = world.allocator
        assert allocator is not None
        capacity = {node: guard.capacity for node, guard in world.guards.items()}
        assert {node: allocator.ledger.free(node) for node in capacity} == capacity
        room = sum(each.times_held(QUARTER) for each in capacity.values())
        probe = DeskId("probe")
        world.tell(DeskJoined(probe, AgentId("probe"), QUARTER))
        effects = world.tell(Wanted(probe, waiting=room + 1, ahead=0))
        offered = [effect.offer for effect in effects if isinstance(effect, SendOffer)]
        assert len(offered) == room
        for offer in offered:
            assert world.guards[offer.node].admit(first_use(offer, allocator.epoch)) is None


def first_use(offer: Offer, epoch: Epoch) -> Grant:
    return Grant(
        epoch=epoch,
        offer_id=offer.offer_id,
        use=1,
        node=offer.node,
        agent=offer.agent,
        desk=offer.desk,
        bundle=offer.bundle,
    )


def one_offer(epoch: int) -> tuple[Allocator, Offer]:
    """Return an allocator that believes a GPU free, and has offered all of it to a desk."""
    allocator = Allocator(epoch=Epoch("world", epoch))
    told = (
        DeskJoined(DeskId("p1"), AgentId("planner"), GPU),
        Wanted(DeskId("p1"), waiting=1, ahead=0),
        NodeJoined(NodeId("n1"), GPU, {}, running=()),
    )
    effects = [effect for event in told for effect in allocator.handle(Instant(0), event)]
    (offer,) = (effect.offer for effect in effects if isinstance(effect, SendOffer))
    return allocator, offer


def test_a_takeover_without_a_fence_breaks_a_reservation() -> None:
    """The planted bug: were this history harmless, everything above would prove nothing."""
    engine = Guard(GPU)
    old, old_offer = one_offer(epoch=1)
    engine.fence(old.epoch)
    new, new_offer = one_offer(epoch=2)  # and nobody fences the engine for it
    assert engine.admit(first_use(old_offer, old.epoch)) is None
    assert engine.admit(first_use(new_offer, new.epoch)) is Refusal.NO_ROOM
    assert engine.journal.broken_reservations == 1


def test_the_same_takeover_with_a_fence_breaks_none() -> None:
    engine = Guard(GPU)
    old, old_offer = one_offer(epoch=1)
    engine.fence(old.epoch)
    new, new_offer = one_offer(epoch=2)
    engine.fence(new.epoch)
    assert engine.admit(first_use(old_offer, old.epoch)) is Refusal.STALE_EPOCH
    assert engine.admit(first_use(new_offer, new.epoch)) is None
    assert engine.journal.broken_reservations == 0


def small_world(*agents: str, bundle: Resources = GPU) -> tuple[World, NodeId, list[Desk]]:
    """Return a world of one GPU, which its allocator has joined, and a desk of each agent."""
    world = World()
    world.allocator_starts()
    node = world.node_starts(GPU)
    world.node_asks_to_join(node)
    for agent in agents:
        world.desk_starts(agent, bundle)
    world.drain()
    return world, node, list(world.desks.values())


def exchange(world: World, desk: Desk) -> None:
    """Tell the allocator what there is to tell, and then fetch what has come of it."""
    for _ in range(2):
        world.desk_reports(desk)
        world.drain()


def test_a_silent_desk_does_not_use_again_what_its_engine_said_is_over() -> None:
    """The allocator is well and hears the engine; only its line to the planner is cut."""
    world, node, (planner, responder) = small_world("planner", "responder")
    exchange(world, planner)
    world.phase_arrives(planner, GPU)
    world.drain()
    planner.fell_silent()
    world.phase_ends(*next(world.running()))
    world.drain()  # the planner keeps the grant, to use it again
    for _ in range(2):
        world.engine_reports(node)
        world.drain()  # the allocator hears that it is over, and the bundle is free
    world.phase_arrives(responder, GPU)
    exchange(world, responder)
    world.phase_arrives(planner, GPU)
    world.drain()
    assert [grant.agent for _, grant in world.running()] == ["responder"]
    assert world.broken_reservations() == 0


def test_a_silent_desk_does_not_use_again_more_than_it_had_accepted() -> None:
    """Its first phase took half of the offer; the other half is the responder's by now."""
    world, _, (planner, responder) = small_world("planner", "responder")
    responder.bundle = HALF
    exchange(world, planner)
    world.phase_arrives(planner, HALF)
    exchange(world, planner)
    planner.fell_silent()
    world.phase_ends(*next(world.running()))
    world.phase_arrives(responder, HALF)
    exchange(world, responder)
    world.phase_arrives(planner, GPU)
    world.drain()
    assert [grant.agent for _, grant in world.running()] == ["responder"]
    assert world.broken_reservations() == 0


def test_an_engine_that_was_only_out_of_sight_does_not_honour_what_was_given_up() -> None:
    """The allocator thought it dead, and freed the planner's offer; then it was seen again."""
    world, node, (planner, responder) = small_world("planner", "responder")
    exchange(world, planner)
    world.node_out_of_sight(node)
    world.phase_arrives(responder, GPU)
    world.node_asks_to_join(node)
    world.drain()
    exchange(world, responder)
    world.phase_arrives(planner, GPU)
    world.drain()
    assert [grant.agent for _, grant in world.running()] == ["responder"]
    assert world.broken_reservations() == 0


# What the machine must be able to reach, or it proves nothing about it


def gang(planners: int, bundle: Resources = QUARTER) -> tuple[Member, ...]:
    return (
        Member(agent=AgentId("planner"), bundle=bundle, least=planners, most=planners),
        Member(agent=AgentId("responder"), bundle=bundle),
    )


def test_a_gang_outlives_the_allocator_that_was_asked_for_it() -> None:
    world, node, (planner, responder) = small_world("planner", "responder")
    exchange(world, responder)
    world.phase_arrives(responder, GPU)
    exchange(world, responder)
    world.gang_is_wanted(planner, gang(2))
    exchange(world, planner)
    world.allocator_dies()
    world.desk_reports(planner)
    world.drain()
    world.allocator_starts()
    world.node_asks_to_join(node)
    world.drain()
    world.phase_ends(*next(world.running()))
    for _ in range(2):
        exchange(world, planner)
        world.engine_reports(node)
    exchange(world, planner)
    assert [len(grants) for grants in world.complete] == [3]
    assert sorted(grant.agent for _, grant in world.running()) == [
        "planner",
        "planner",
        "responder",
    ]
    assert world.broken_reservations() == 0


def test_a_gang_whose_offers_never_arrived_is_asked_for_anew() -> None:
    world, _, (planner, _) = small_world("planner", "responder")
    planner.terms = DeskTerms(ahead_min=0, ahead_max=0)
    exchange(world, planner)
    world.gang_is_wanted(planner, gang(1))
    world.desk_reports(planner)
    world.deliver(world.post.pop(0))
    world.lose(world.post.pop(0))  # the reply, with the offers of both
    for _ in range(3):
        exchange(world, planner)
        world.time_passes(3 * SECOND)
        world.drain()
    assert [len(grants) for grants in world.complete] == [2]


def test_a_guarantee_that_was_lent_is_preempted_though_the_first_word_of_it_is_lost() -> None:
    world, _, (planner, responder) = small_world("planner", "responder", bundle=HALF)
    for _ in range(2):
        world.phase_arrives(planner, HALF)
    exchange(world, planner)
    assert [grant.agent for _, grant in world.running()] == ["planner", "planner"]
    world.phase_arrives(responder, HALF)
    exchange(world, responder)
    world.time_passes(SECOND)
    assert [type(message) for message in world.post] == [Ending]
    world.lose(world.post.pop())
    assert world.preempted == 0
    world.time_passes(3 * SECOND)
    world.drain()
    assert world.preempted == 1
    for _ in range(2):
        world.engine_reports(next(iter(world.guards)))
        world.drain()
        exchange(world, responder)
    assert sorted(grant.agent for _, grant in world.running()) == ["planner", "responder"]
    assert world.broken_reservations() == 0


def test_what_started_while_its_node_was_being_drained_is_asked_back_too() -> None:
    world, node, (planner, _) = small_world("planner", "responder", bundle=HALF)
    exchange(world, planner)
    world.node_drains(node, Micros(1), preempt=True)
    world.post.clear()  # the question is lost; and the desk has not heard yet
    world.phase_arrives(planner, HALF)
    world.drain()
    exchange(world, planner)
    assert list(planner.asked_back) == [grant.offer_id for _, grant in world.running()] != []
    world.time_passes(SECOND)
    world.drain()
    assert world.preempted == 1
    assert not list(world.running())


TestWholeLoop = WholeLoop.TestCase
TestWholeLoop.settings = settings(
    max_examples=200,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # to explain takes minutes
)
