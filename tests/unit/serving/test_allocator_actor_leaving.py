"""Serve stops an engine: it is emptied while what runs there ends, and only then let go."""

import asyncio
from dataclasses import dataclass, field

from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.messages import Accepted, DeskEvent, Finished
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, AgentId, DeskId, Micros, NodeId, OfferId
from coordsvc.serving.allocator_actor import LEAVING_WATCH_S, TICK_S, WATCH_S, AllocatorActor
from coordsvc.serving.pool import NodeCard, Watched
from tests.fakes import FIRST, N1, N2, SLOT, FakeLink
from tests.jumping import LoopClock, settle

TERMS = Terms(drain_us=Micros(5 * SECOND))


def card(node: NodeId, slots: int = 2) -> NodeCard:
    return NodeCard(node=node, capacity=Resources(cpu_milli=1_000 * slots))


@dataclass
class Pool:
    """An allocator that keeps time, two engines, and a planner's desk that wants two offers."""

    links: dict[NodeId, FakeLink] = field(default_factory=lambda: {N1: FakeLink(), N2: FakeLink()})
    reached: list[NodeId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.actor = AllocatorActor(FIRST, TERMS, LoopClock(), self._link, lambda _: None)
        self.actor.start()

    def _link(self, card: NodeCard) -> FakeLink:
        self.reached.append(card.node)
        return self.links[card.node]

    async def join(self, node: NodeId, slots: int = 2) -> None:
        await self.actor.join(card(node, slots))
        await settle()

    async def tell(self, *events: DeskEvent, ahead: int = 2) -> DeskReply:
        report = DeskReport(
            desk=DeskId("p1"),
            agent=AgentId("planner"),
            bundle=SLOT,
            waiting=0,
            ahead=ahead,
            events=events,
        )
        return await self.actor.exchange(report, 0)

    async def nodes(self) -> list[str]:
        return list((await self.actor.status())["nodes"])

    async def starts(self, offer_id: OfferId) -> None:
        """Have a phase run there, as its desk and its engine say."""
        await self.tell(Accepted(offer_id, SLOT))
        self.links[N1].word = Watched(running=frozenset({offer_id}))


async def test_what_is_unstarted_on_an_engine_that_leaves_is_taken_back_and_offered_elsewhere() -> (
    None
):
    pool = Pool()
    await pool.join(N1)
    told = (await pool.tell()).offers
    await pool.join(N2)
    pool.links[N1].leaves()
    await settle()
    assert (await pool.actor.status())["draining"] == [N1]
    reply = await pool.tell()
    assert set(reply.withdrawn) == {ticket.offer_id for ticket in told}
    voided = [line for line in pool.links[N1].asked.read() if line[0] == "void"]
    assert voided == [("void", ticket.offer_id) for ticket in told], "its engine has the last word"
    assert [ticket.node for ticket in reply.offers] == [N2, N2]


async def test_an_empty_engine_is_let_go_and_not_taken_in_again_while_it_ends() -> None:
    pool = Pool()
    await pool.join(N1)
    pool.links[N1].leaves()
    await asyncio.sleep(WATCH_S + TICK_S)
    assert await pool.nodes() == []
    watches = pool.links[N1].asked.count("watch")
    await pool.join(N1)  # nobody watches it, so it asks
    await asyncio.sleep(2 * WATCH_S)
    assert await pool.nodes() == []
    assert pool.reached == [N1]
    assert pool.links[N1].asked.count("watch") == watches, "Serve waits for the last call to end"


async def test_what_runs_on_an_engine_that_leaves_may_end_and_then_the_engine_goes() -> None:
    pool = Pool()
    await pool.join(N1)
    (mine, _) = (await pool.tell()).offers
    await pool.starts(mine.offer_id)
    pool.links[N1].leaves()
    await asyncio.sleep(4)
    assert await pool.nodes() == [N1]
    pool.links[N1].word = Watched(finished=(mine.offer_id,))
    await pool.tell(Finished(mine.offer_id), ahead=0)
    await asyncio.sleep(2 * LEAVING_WATCH_S)
    assert await pool.nodes() == []
    assert pool.links[N1].asked.count("preempt") == 0


async def test_what_still_runs_after_the_drain_is_ended_and_goes_on_elsewhere() -> None:
    pool = Pool()
    await pool.join(N1)
    (mine, _) = (await pool.tell()).offers
    await pool.starts(mine.offer_id)
    pool.links[N1].leaves()
    await asyncio.sleep(4)
    assert pool.links[N1].asked.count("preempt") == 0
    await asyncio.sleep(1 + 2 * TICK_S)
    assert ("preempt", mine.offer_id) in pool.links[N1].asked.read()
    pool.links[N1].word = Watched(finished=(mine.offer_id,))
    await asyncio.sleep(2 * LEAVING_WATCH_S)
    assert await pool.nodes() == []


async def test_an_engine_that_dies_while_it_is_emptied_is_lost_like_any_other() -> None:
    pool = Pool()
    await pool.join(N1)
    (mine, _) = (await pool.tell()).offers
    await pool.starts(mine.offer_id)
    pool.links[N1].leaves()
    await settle()
    pool.links[N1].dies()
    await settle()
    assert await pool.nodes() == []
