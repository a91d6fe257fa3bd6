"""An agent in training: it takes offers as it would for phases of turns, and trains under each.

What it has learned is in checkpoints that every node can read. So it may go on at any node, and
prefers the one that has it loaded.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping

from coordsvc.core.errors import CoordinationError, FatalError, GrantRefused, NodeGone
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.core.units import SECOND, AgentId, Instant, Micros, NodeId, TurnId, after
from coordsvc.core.waits import Wait
from coordsvc.ports import Clock, OfferDesk, Trainers

PATIENCE_US = Micros(24 * 3_600 * SECOND)
"""How long training waits for an offer: it is in nobody's way, and nobody waits for it."""
NODES_LOST_MAX = 5
"""Nodes that may die under a stretch, one after the other, until it is taken for the cause."""
TRAIN = "train"
"""The phase's name, in the account."""


def warm_name(agent: AgentId) -> str:
    """Return the name under which a node says that it has the agent's training loaded."""
    return f"training/{agent}"


class TrainingAgent:
    """Has one agent trained, stretch by stretch."""

    def __init__(
        self,
        agent: AgentId,
        demand: Resources,
        steps: int,
        desk: OfferDesk,
        trainers: Trainers,
        clock: Clock,
    ) -> None:
        """Give the grant back after every `steps` steps, so that others get their turn."""
        self._agent = agent
        self._demand = demand
        self._steps = steps
        self._desk = desk
        self._trainers = trainers
        self._clock = clock

    async def train(self, begin: int = 0) -> AsyncGenerator[Stretched]:
        """Yield where it stands after each stretch, until it is done.

        Raises `FatalError` where no node can train it, and `NodeGone` if node after node dies.
        """
        arrived = self._clock.now()
        step, lost, near, attained_us = begin, 0, None, 0
        while True:
            grant = await self._take(arrived, near, Micros(attained_us))
            stretch = Stretch(agent=self._agent, begin=step, steps=self._steps)
            try:
                stretched = await self._under(grant, stretch)
            except GrantRefused as refusal:
                self._desk.refused(grant, Refusal(refusal.args[0]))
                continue
            except NodeGone:
                self._desk.node_lost(grant.node)
                lost, near = lost + 1, None
                if lost >= NODES_LOST_MAX:
                    raise
                continue
            step, lost, near = stretched.step, 0, grant.node
            attained_us += stretched.compute_us
            yield stretched
            if stretched.done:
                return

    async def _take(self, arrived: Instant, near: NodeId | None, attained_us: Micros) -> Grant:
        now = self._clock.now()
        wait = Wait(
            turn=TurnId(warm_name(self._agent)),
            asked=now,
            arrived=arrived,
            deadline=after(now, PATIENCE_US),
            attained_us=attained_us,
            near=near,
            prefix=warm_name(self._agent),
        )
        return await self._desk.take(self._demand, wait)

    async def _under(self, grant: Grant, stretch: Stretch) -> Stretched:
        """Train under the grant; it ends on the node's word and on no other."""
        ended, compute_us = False, Micros(0)
        try:
            stretched = await self._trainers.train(stretch, grant)
            ended, compute_us = True, stretched.compute_us
        except FatalError:
            ended = True
            raise
        finally:
            if ended:
                self._desk.finished(grant, compute_us, phase=TRAIN)
            else:
                self._desk.uncertain(grant)
        return stretched


async def together(
    agents: Mapping[AgentId, TrainingAgent], begin: Mapping[AgentId, int]
) -> AsyncGenerator[Stretched]:
    """Train all at the same time; yield where each stands after each of its stretches.

    One that fails leaves the others to end theirs; only then is the first error raised, with the
    agent's name. Closing the generator ends all: what they have learned is in their checkpoints.
    """
    told: asyncio.Queue[Stretched | None] = asyncio.Queue()

    async def one(agent: AgentId) -> None:
        try:
            async for stretched in agents[agent].train(begin.get(agent, 0)):
                told.put_nowait(stretched)
        finally:
            told.put_nowait(None)

    tasks = {agent: asyncio.create_task(one(agent)) for agent in agents}
    try:
        left = len(tasks)
        while left:
            stretched = await told.get()
            if stretched is None:
                left -= 1
            else:
                yield stretched
    finally:
        for task in tasks.values():
            task.cancel()
        ends = await asyncio.gather(*tasks.values(), return_exceptions=True)
    for agent, end in zip(tasks, ends, strict=True):
        if isinstance(end, CoordinationError):
            raise type(end)(f"{agent}: {end}") from end
        if isinstance(end, Exception):
            raise end
