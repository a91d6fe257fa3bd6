"""An allocator to tell stories to: what happens in one line, what came of it in another."""

from coordsvc.core.allocator import Allocator
from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.messages import (
    DeskJoined,
    Effect,
    Event,
    Freed,
    GangWanted,
    Granted,
    Member,
    NodeJoined,
    Refused,
    SendOffer,
    Voided,
    Wanted,
)
from coordsvc.core.offers import Grant, Offer
from coordsvc.core.resources import Resources
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
    TurnId,
)
from coordsvc.core.waits import PhaseWait

GPU, HALF, QUARTER = (Resources(gpu_milli=amount) for amount in (1_000, 500, 250))
N1, N2, N3 = NodeId("n1"), NodeId("n2"), NodeId("n3")
PLANNER, RESPONDER = AgentId("planner"), AgentId("responder")
P1, P2, R1 = DeskId("p1"), DeskId("p2"), DeskId("r1")
G1, G2 = GangId("g1"), GangId("g2")
EPOCH = Epoch("run", 1)


class Story:
    """An allocator, its clock, and who has joined it."""

    def __init__(self, terms: Terms | None = None, epoch: Epoch = EPOCH) -> None:
        self.allocator = Allocator(epoch=epoch, terms=terms or Terms())
        self.now = Instant(0)

    def tell(self, *events: Event) -> list[Effect]:
        effects = [one for event in events for one in self.allocator.handle(self.now, event)]
        self.allocator.ledger.check()
        return effects

    def later(self, micros: int) -> "Story":
        self.now = Instant(self.now + micros)
        return self

    def node(
        self,
        node: NodeId,
        capacity: Resources = GPU,
        reserved: dict[RoleId, Resources] | None = None,
        **attributes: str,
    ) -> list[Effect]:
        return self.tell(NodeJoined(node, capacity, attributes, (), reserved or {}))

    def desk(
        self,
        desk: DeskId,
        agent: AgentId = PLANNER,
        bundle: Resources = HALF,
        least: Resources | None = None,
        where: NodeFilter = ANY_NODE,
    ) -> list[Effect]:
        return self.tell(DeskJoined(desk, agent, bundle, least, where))

    def want(self, desk: DeskId, waiting: int = 0, ahead: int = 0, *turns: str) -> list[Offer]:
        waits = tuple(a_wait(turn) for turn in turns)
        return offered(self.tell(Wanted(desk, waiting, ahead, waits)))

    def gang(self, gang: GangId, desk: DeskId, *members: Member) -> list[Effect]:
        return self.tell(GangWanted(gang, desk, members))

    def never_started(self, *offers: Offer) -> list[Effect]:
        return self.tell(*(Voided(offer.offer_id, was_started=False) for offer in offers))

    def free(self, node: NodeId = N1) -> Resources:
        return self.allocator.ledger.free(node)


def a_wait(turn: str, near: NodeId | None = None) -> PhaseWait:
    return PhaseWait(
        turn=TurnId(turn),
        waited_us=Micros(0),
        turn_us=Micros(0),
        left_us=Micros(10_000_000),
        near=near,
    )


def member(
    least: int = 1,
    most: int | None = None,
    *,
    agent: AgentId = PLANNER,
    bundle: Resources = HALF,
    where: NodeFilter = ANY_NODE,
) -> Member:
    return Member(
        agent=agent,
        bundle=bundle,
        least=least,
        most=least if most is None else most,
        where=where,
    )


def offered(effects: list[Effect]) -> list[Offer]:
    return [effect.offer for effect in effects if isinstance(effect, SendOffer)]


def granted(effects: list[Effect]) -> list[Offer]:
    return [effect.offer for effect in effects if isinstance(effect, Granted)]


def freed(effects: list[Effect]) -> list[Offer]:
    return [effect.offer for effect in effects if isinstance(effect, Freed)]


def refusals(effects: list[Effect]) -> list[str]:
    return [effect.why for effect in effects if isinstance(effect, Refused)]


def numbers(offers: list[Offer]) -> list[int]:
    """Return the offers' numbers within their epoch."""
    return [offer.offer_id % (1 << 40) for offer in offers]


def a_grant(number: int, node: NodeId = N1, bundle: Resources = HALF) -> Grant:
    """Return a grant that another allocator had made, before all epochs here."""
    return Grant(
        epoch=Epoch("run", 0),
        offer_id=OfferId(number),
        use=1,
        node=node,
        agent=PLANNER,
        desk=P1,
        bundle=bundle,
    )
