"""Delays put where each part of C_coord happens, to see whether the account finds them there.

Nothing here touches an account: a desk is slow to give, an engine's batch is full or shared, a
prefix is gone, a call leaves late, is lost with its engine, or with its agent. A request says in
its text at which point it is to be delayed; the delay falls into the respond phase.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from coordsvc import engines
from coordsvc.agents.conductor import Conductor
from coordsvc.agents.roles import Budget, Role
from coordsvc.core.accounting import Part, PhaseDone, PhaseEvent, TurnEvent, TurnResult
from coordsvc.core.dialogue import Phase, PhaseWork, TurnRequest
from coordsvc.core.errors import AgentGone, NodeGone
from coordsvc.core.generation import Chunk, GenerationRequest
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import MILLISECOND, AgentId, Instant, Micros
from coordsvc.core.waits import Wait
from coordsvc.engines.emulated import EmulatedEngine
from coordsvc.engines.prefix_mirror import PrefixMirror
from coordsvc.engines.settings import EmulatedSettings
from coordsvc.ports import Engine, Engines, OfferDesk, Turns
from coordsvc.serving.app import (
    PIN_ROUTER,
    AgentDeployment,
    EngineDeployment,
    IngressDeployment,
    compose,
)
from coordsvc.serving.pool import Failure
from coordsvc.settings import AppSettings, check

DELAY_US = Micros(200 * MILLISECOND)
DELAY_S = 0.2
POINTS: dict[str, Part] = {
    "offer_wait": "offer_wait",
    "engine_queue": "engine_queue",
    "contention": "contention",
    "refill": "refill",
    "call_to_agent": "call",
    "call_to_engine": "call",
    "agent": "agent",
    "lost_engine": "retry",
    "lost_agent": "retry",
    "ingress": "ingress",
}
"""Where something can be put in, and in which part of the account it must be found."""
STEP_US = 20_000
"""An emulated step lasts so long for each sequence in the batch."""
BATCH = 2
REPLY_TOKENS = DELAY_US // STEP_US
"""So many steps beside one other sequence last longer by just the delay."""
MARK = "delay:"

_now_delayed: ContextVar[str] = ContextVar("_now_delayed", default="")
"""In an agent's replica: at which point the phase at hand is to be delayed."""


def marked(point: str, text: str) -> str:
    """Return a user's text that asks for a delay at `point`; without a point, for none."""
    return f"{text} {MARK}{point or 'none'}."


def point_in(text: str) -> str:
    """Return where the text asks for a delay; nothing where it asks for none."""
    return next((point for point in POINTS if f"{MARK}{point}." in text), "")


class SlowDesk:
    """A desk that has nothing in hand for a while."""

    def __init__(self, inside: OfferDesk) -> None:
        self._inside = inside
        self.finished = inside.finished
        self.uncertain = inside.uncertain
        self.refused = inside.refused
        self.node_lost = inside.node_lost

    async def take(self, used: Resources, wait: Wait) -> Grant:
        """Return a grant, later where that is asked for."""
        if _now_delayed.get() == "offer_wait":
            await asyncio.sleep(DELAY_S)
        return await self._inside.take(used, wait)


class FarEngines:
    """Engines that calls reach late, and of which the first is lost, where that is asked for."""

    def __init__(self, inside: Engines) -> None:
        self._inside = inside

    async def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        """Yield the reply; or lose the call."""
        point = _now_delayed.get()
        if point in {"call_to_engine", "lost_engine"}:
            _now_delayed.set("")
            await asyncio.sleep(DELAY_S)
        if point == "lost_engine":
            raise NodeGone("its death is played")
        async with aclosing(self._inside.run(request, grant, stream=stream)) as chunks:
            async for chunk in chunks:
                yield chunk


class DelayedAgent(AgentDeployment):
    """The product's agent with a slow desk, slow wits, lost calls, or a slow line to it."""

    async def __init__(  # type: ignore[misc]
        self, agent: AgentId, settings: AppSettings, engine: DeploymentHandle[Any]
    ) -> None:
        self._died_under: set[str] = set()
        await super().__init__(agent, settings, engine)

    def desk(self, agent: AgentId, settings: AppSettings, tenant: str) -> OfferDesk:
        """Return the product's desk, made slow."""
        return SlowDesk(super().desk(agent, settings, tenant))

    def engines(self, engine: DeploymentHandle[Any]) -> Engines:
        """Return the product's engines, made hard to reach."""
        return FarEngines(super().engines(engine))

    def role(self, agent: AgentId) -> Role:
        """Return the product's role, made slow to think."""
        role = super().role(agent)

        def ask(work: PhaseWork, budget: Budget) -> GenerationRequest:
            if _now_delayed.get() == "agent":
                time.sleep(DELAY_S)
            return role.ask(work, budget)

        return replace(role, ask=ask)

    async def work(self, work: PhaseWork) -> PhaseDone | Failure:
        """Do the phase; where the line is to be slow, or to break, begin late or not at all."""
        return self._played_death(work) if await self._late(work) else await super().work(work)

    async def stream(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent | Failure]:
        """Do the same piece by piece."""
        if await self._late(work):
            yield self._played_death(work)
            return
        async with aclosing(super().stream(work)) as events:
            async for event in events:
                yield event

    async def _late(self, work: PhaseWork) -> bool:
        """Wait where the line to this agent is to be slow; return whether it is to break."""
        point = point_in(work.conversation[-1].text) if work.run.phase is Phase.RESPOND else ""
        lost = point == "lost_agent" and work.turn_id not in self._died_under
        if point == "call_to_agent" or lost:
            await asyncio.sleep(DELAY_S)
        _now_delayed.set(point)
        return lost

    def _played_death(self, work: PhaseWork) -> Failure:
        self._died_under.add(work.turn_id)
        return Failure(AgentGone("its death is played"))


class DelayedEngine(EmulatedEngine):
    """An emulated accelerator that is full, shared, or has forgotten a prefix."""

    def __init__(self, settings: EmulatedSettings) -> None:
        super().__init__(settings)
        self._others: set[asyncio.Task[None]] = set()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the reply, with others in front or beside where that is asked for."""
        if _responds(request, "engine_queue"):
            for _ in range(BATCH):
                self._begin_another(DELAY_US // (BATCH * STEP_US))
        if _responds(request, "contention"):
            self._begin_another(REPLY_TOKENS)
        cached = self._mirror
        if _responds(request, "refill"):
            self._mirror = PrefixMirror(self._settings.block_tokens, self._settings.cache_tokens)
        await asyncio.sleep(0)  # the others are inside before it
        try:
            async with aclosing(super().generate(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._mirror = cached  # what other turns have left there is not to be paid for again

    def _begin_another(self, steps: int) -> None:
        task = asyncio.create_task(self._other(steps))
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _other(self, steps: int) -> None:
        """Hold one place in the batch for so many steps."""
        async for _ in super().generate(GenerationRequest(messages=(), max_new_tokens=steps)):
            pass


def _responds(request: GenerationRequest, point: str) -> bool:
    """Tell whether this is a respond phase that asks for a delay at `point`."""
    notes = any(m.text.startswith("Notes for the answer") for m in request.messages)
    return notes and point_in(request.messages[-1].text) == point


class DelayedEngineDeployment(EngineDeployment):
    """The product's engine replica around the delayed engine."""

    def engine(self, settings: AppSettings) -> Engine:
        """Return the delayed engine; anything but an emulated one cannot be delayed so."""
        if not isinstance(settings.engine, EmulatedSettings):
            return engines.build(settings.engine)
        return DelayedEngine(settings.engine)


class SlowTurns:
    """A conductor that is told late of turns."""

    def __init__(self, inside: Turns) -> None:
        self._inside = inside

    async def converse(self, request: TurnRequest, arrived: Instant) -> AsyncGenerator[TurnEvent]:
        """Yield the turn, admitted late where that is asked for."""
        if point_in(request.conversation[-1].text) == "ingress":
            await asyncio.sleep(DELAY_S)
        async with aclosing(self._inside.converse(request, arrived)) as events:
            async for event in events:
                yield event

    def find(self, turn_id: str) -> TurnResult | None:
        """Return a recent turn."""
        return self._inside.find(turn_id)

    def sent(self, turn_id: str, serialise_us: Micros, client_wait_us: Micros) -> None:
        """Pass on what the last step cost."""
        self._inside.sent(turn_id, serialise_us, client_wait_us)

    def unsent(self, turn_id: str) -> None:
        """Pass on that nobody waits for it any more."""
        self._inside.unsent(turn_id)


class DelayedIngress(IngressDeployment):
    """The product's ingress in front of a conductor that is told late."""

    def turns(self, conductor: Conductor) -> Turns:
        """Return the product's conductor, told late."""
        return SlowTurns(conductor)


def build(args: dict[str, Any]) -> serve.Application:
    """Return the product's application with delays on demand in every part."""
    return compose(check(args), DelayedEngineDeployment, DelayedAgent, PIN_ROUTER, DelayedIngress)
