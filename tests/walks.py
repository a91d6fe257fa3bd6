"""Random lives of an allocator: every kind of event, true or absurd, from one seed."""

from collections.abc import Callable
from random import Random

from coordsvc.core.allocator import Allocator
from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Finished,
    GangGivenUp,
    GangWanted,
    Held,
    Member,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Reconciled,
    Revived,
    Suppressed,
    TermsChanged,
    Ticked,
    Voided,
    Wanted,
)
from coordsvc.core.offers import ACCEPTED, ISSUED, VOIDING, OfferState
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    MILLISECOND,
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
    TurnId,
)
from coordsvc.core.waits import PhaseWait

AGENTS = [AgentId(name) for name in ("acme/planner", "acme/checker", "planner", "checker")]
DESKS = [DeskId(f"{agent}.{n}") for agent in AGENTS for n in (1, 2)]
NODES = [NodeId(f"n{n}") for n in range(1, 7)]
GANGS = [GangId(f"g{n}") for n in range(1, 5)]
ADAPTERS = ("x", "y", "x y")
EPOCH = Epoch("walk", 3)


def gpu(milli: int) -> Resources:
    return Resources(gpu_milli=milli)


def terms(random: Random, policy: str | None = None) -> Terms:
    """Return terms with short times, narrow bounds, guarantees and limits."""
    named = policy or random.choice(NAMES)
    roles = {
        RoleId("acme"): RoleTerms(weight=random.choice([1, 2]), limit=gpu(5_000)),
        RoleId("planner"): RoleTerms(guarantee=gpu(random.choice([0, 1_000]))),
        RoleId("acme/planner"): RoleTerms(limit=random.choice([None, gpu(3_000)])),
    }
    return Terms(
        policy=PolicyTerms(
            name=named,
            plan=((0, AgentId("planner")), (1, AgentId("checker")), (1, AgentId("planner"))),
            partition={RoleId("acme"): 2, RoleId("planner"): 1, RoleId("checker"): 1},
            utility_weights={AgentId("planner"): 2.0},
        ),
        roles=roles,
        offer_lasts_us=Micros(2 * SECOND),
        offer_margin_us=Micros(100 * MILLISECOND),
        ask_back_us=Micros(SECOND),
        refuse_for_max_us=Micros(3 * SECOND),
        offers_per_desk_max=5,
        filters_per_desk_max=2,
        waits_per_desk_max=3,
        declines_per_second_max=4,
        cached_per_node_max=2,
    )


class Walk:
    """Draws events; looks at the allocator only for ids to speak of."""

    def __init__(self, seed: int, policy: str | None = None) -> None:
        self.random = Random(seed)  # the seed is the test's
        self.now = Instant(0)
        self.turns = 0
        self._policy = policy
        self.terms = terms(self.random, policy)
        draws: list[tuple[int, Callable[[Allocator], Event]]] = [
            (6, self._node),
            (2, lambda _: NodeLost(self._of(NODES))),
            (2, self._draining),
            (3, lambda _: NodeReopened(self._of(NODES))),
            (8, self._reconciled),
            (10, self._voided),
            (8, self._desk),
            (1, lambda _: DeskLost(self._of(DESKS))),
            (25, self._wanted),
            (2, lambda _: Suppressed(self._of(DESKS))),
            (3, lambda _: Revived(self._of(DESKS))),
            (2, self._held),
            (20, self._accepted),
            (6, self._declined),
            (18, self._finished),
            (4, self._gang),
            (1, lambda _: GangGivenUp(self._of(GANGS))),
            (1, lambda _: TermsChanged(terms(self.random, self._policy))),
            (12, lambda _: Ticked()),
        ]
        self._weights = [weight for weight, _ in draws]
        self._draws = [draw for _, draw in draws]

    def allocator(self) -> Allocator:
        return Allocator(EPOCH, self.terms)

    def next(self, allocator: Allocator) -> tuple[Instant, Event]:
        """Return when what happens next; time mostly goes forwards."""
        step = self.random.choice([0, 0, 1_000, 40_000, 40_000, 400_000])
        if self.random.random() < 0.02:
            step = -step
        self.now = Instant(max(0, self.now + step))
        (draw,) = self.random.choices(self._draws, self._weights)
        return self.now, draw(allocator)

    def live(self, allocator: Allocator, events: int) -> list[tuple[Instant, Event, list[Effect]]]:
        """Return what was told, when, and what came of it."""
        lived = []
        for _ in range(events):
            now, event = self.next(allocator)
            lived.append((now, event, allocator.handle(now, event)))
        return lived

    def _of(self, names: list[NodeId] | list[DeskId] | list[GangId] | list[AgentId]):
        return self.random.choice(names)

    def _bundle(self) -> Resources:
        return gpu(self.random.choice([250, 500, 500, 1_000, 3_000]))

    def _where(self) -> NodeFilter:
        wanted = self.random.choice(["x", "y", "z"])
        narrow = self.random.random() < 0.3
        return NodeFilter.requiring({"adapter": wanted}) if narrow else ANY_NODE

    def _offer(self, allocator: Allocator, *states: OfferState) -> OfferId:
        offers = allocator.ledger.offers.values()
        fit = [offer.offer_id for offer in offers if offer.state in states]
        if fit and self.random.random() < 0.95:
            return self.random.choice(fit)
        return OfferId(self.random.randrange((3 << 40), (3 << 40) + 20))

    def _node(self, _: Allocator) -> NodeJoined:
        reserved = {RoleId("acme"): gpu(500)} if self.random.random() < 0.3 else {}
        adapter = {"adapter": self.random.choice(ADAPTERS), "zone": self.random.choice("ab")}
        capacity = gpu(self.random.choice([1_000, 2_000]))
        return NodeJoined(self._of(NODES), capacity, adapter, (), reserved)

    def _draining(self, _: Allocator) -> NodeDraining:
        within = Micros(self.random.choice([100_000, SECOND]))
        return NodeDraining(self._of(NODES), within, preempt=self.random.random() < 0.5)

    def _reconciled(self, allocator: Allocator) -> Reconciled:
        node = self._of(NODES)
        here = [offer.offer_id for offer in allocator.ledger.on_node(node)]
        running = frozenset(one for one in here if self.random.random() < 0.6)
        finished = tuple(one for one in here if self.random.random() < 0.1)
        keys = frozenset(self.random.sample("pqrs", self.random.randrange(4)))
        told = keys if self.random.random() < 0.5 else None
        return Reconciled(node, running.difference(finished), finished, told)

    def _voided(self, allocator: Allocator) -> Voided:
        return Voided(self._offer(allocator, VOIDING), self.random.random() < 0.2)

    def _desk(self, _: Allocator) -> DeskJoined:
        desk = self._of(DESKS)
        bundle = self._bundle()
        least = gpu(250) if self.random.random() < 0.2 else None
        return DeskJoined(desk, AgentId(desk.partition(".")[0]), bundle, least, self._where())

    def _wait(self) -> PhaseWait:
        self.turns += 1
        waited = self.random.randrange(400_000)
        return PhaseWait(
            turn=TurnId(f"t{self.turns - self.random.randrange(6)}"),
            waited_us=Micros(waited),
            turn_us=Micros(waited + self.random.randrange(SECOND)),
            left_us=Micros(self.random.randrange(4 * SECOND)),
            attained_us=Micros(self.random.choice([0, 100_000, 900_000])),
            rest_us=Micros(self.random.randrange(SECOND)),
            near=self.random.choice([None, *NODES]),
        )

    def _wanted(self, _: Allocator) -> Wanted:
        waiting = self.random.choice([0, 1, 1, 2, 4])
        told = {wait.turn: wait for wait in (self._wait() for _ in range(waiting))}
        ahead = self.random.choice([0, 0, 1, 3])
        return Wanted(self._of(DESKS), waiting, ahead, tuple(told.values()))

    def _held(self, allocator: Allocator) -> Held:
        desk = self._of(DESKS)
        known = (offer.offer_id for offer in allocator.ledger.issued_to(desk))
        return Held(desk, frozenset(one for one in known if self.random.random() < 0.7))

    def _accepted(self, allocator: Allocator) -> Accepted:
        offer_id = self._offer(allocator, ISSUED, VOIDING)
        offer = allocator.ledger.offers.get(offer_id)
        used = gpu(250) if offer is None or self.random.random() < 0.2 else offer.bundle
        return Accepted(offer_id, used, Micros(self.random.choice([0, SECOND])))

    def _declined(self, allocator: Allocator) -> Declined:
        refuse_for = Micros(self.random.choice([0, 0, 500_000, 9 * SECOND]))
        return Declined(self._offer(allocator, ISSUED), refuse_for)

    def _finished(self, allocator: Allocator) -> Finished:
        compute = Micros(self.random.randrange(SECOND))
        return Finished(self._offer(allocator, ACCEPTED), compute, self.random.random() < 0.3)

    def _gang(self, _: Allocator) -> GangWanted:
        members = tuple(
            Member(
                agent=self._of(AGENTS),
                bundle=gpu(self.random.choice([500, 1_000])),
                least=self.random.choice([1, 2]),
                most=self.random.choice([2, 3]),
                where=self._where(),
            )
            for _ in range(self.random.choice([1, 2]))
        )
        return GangWanted(self._of(GANGS), self._of(DESKS), members)
