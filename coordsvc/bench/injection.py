"""Delays put where each part of C_coord happens, to see whether the account finds them there.

Nothing here touches an account: a desk is slow to give, an engine slow to begin, a prefix is gone.
A request says in its text which part is to be delayed; the delay falls into the respond phase.
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
from coordsvc.core.accounting import PhaseDone, TurnEvent, TurnResult
from coordsvc.core.dialogue import Phase, PhaseWork, TurnRequest
from coordsvc.core.errors import GrantRefused
from coordsvc.core.generation import Chunk, GenerationRequest
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import MILLISECOND, AgentId, Instant, Micros, NodeId
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
PARTS = (
    "offer_wait",
    "engine_queue",
    "contention",
    "refill",
    "call",
    "agent",
    "retry",
    "ingress",
)
"""Every part that exists in the product and that something can be put into."""
MARK = "delay:"

_now_delayed: ContextVar[str] = ContextVar("_now_delayed", default="")
"""In an agent's replica: which part of the phase at hand is to be delayed."""


def marked(part: str, text: str) -> str:
    """Return a user's text that asks for a delay in `part`; without a part, for none."""
    return f"{text} {MARK}{part or 'none'}."


def part_in(text: str) -> str:
    """Return which part the text asks to delay; nothing where it asks for none."""
    return next((part for part in PARTS if f"{MARK}{part}." in text), "")


class SlowDesk:
    """A desk that has nothing in hand for a while."""

    def __init__(self, inside: OfferDesk) -> None:
        self._inside = inside
        self.finished = inside.finished
        self.uncertain = inside.uncertain
        self.refused = inside.refused
        self.node_lost = inside.node_lost

    async def take(self, used: Resources, *, prefer: NodeId | None, left_us: Micros) -> Grant:
        """Return a grant, later where that is asked for."""
        if _now_delayed.get() == "offer_wait":
            await asyncio.sleep(DELAY_S)
        return await self._inside.take(used, prefer=prefer, left_us=left_us)


class FailingEngines:
    """Engines of which the first call is lost, where that is asked for, after a while."""

    def __init__(self, inside: Engines) -> None:
        self._inside = inside

    async def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        """Yield the reply; or lose the call."""
        if _now_delayed.get() == "retry":
            _now_delayed.set("")
            await asyncio.sleep(DELAY_S)
            raise GrantRefused(Refusal.VOIDED.value)
        async with aclosing(self._inside.run(request, grant, stream=stream)) as chunks:
            async for chunk in chunks:
                yield chunk


class DelayedAgent(AgentDeployment):
    """The product's agent with a slow desk, slow wits, lost calls, or a slow line to it."""

    def desk(self, agent: AgentId, settings: AppSettings) -> OfferDesk:
        """Return the product's desk, made slow."""
        return SlowDesk(super().desk(agent, settings))

    def engines(self, engine: DeploymentHandle[Any]) -> Engines:
        """Return the product's engines, made to fail."""
        return FailingEngines(super().engines(engine))

    def role(self, agent: AgentId) -> Role:
        """Return the product's role, made slow to think."""
        role = super().role(agent)

        def ask(work: PhaseWork, budget: Budget) -> GenerationRequest:
            if _now_delayed.get() == "agent":
                time.sleep(DELAY_S)
            return role.ask(work, budget)

        return replace(role, ask=ask)

    async def work(self, work: PhaseWork) -> PhaseDone | Failure:
        """Do the phase; where the line is to be slow, begin late."""
        wanted = part_in(work.conversation[-1].text) if work.run.phase is Phase.RESPOND else ""
        if wanted == "call":
            await asyncio.sleep(DELAY_S)
        _now_delayed.set(wanted)
        return await super().work(work)


class DelayedEngine(EmulatedEngine):
    """An emulated accelerator that is slow to begin, slow to go on, or has forgotten a prefix."""

    def _take_in(self) -> int:
        lasts = super()._take_in()
        for sequence in self._active:  # slow in the first step only, whoever is beside it
            if sequence.made == 0 and _responds(sequence.request, "contention"):
                lasts += DELAY_US
        return lasts

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the reply, the engine's place or its prefix taken where that is asked for."""
        neighbour: asyncio.Task[None] | None = None
        if _responds(request, "engine_queue"):
            neighbour = asyncio.create_task(self._occupy())
            await asyncio.sleep(0)
        if _responds(request, "refill"):
            self._mirror = PrefixMirror(self._settings.block_tokens, self._settings.cache_tokens)
        async with aclosing(super().generate(request)) as chunks:
            async for chunk in chunks:
                yield chunk
        if neighbour is not None:
            await neighbour

    async def _occupy(self) -> None:
        """Hold the only place for as long as the delay: by a request of known length."""
        step_us = self._settings.decode_base_us + self._settings.decode_us_per_sequence
        steps = round(DELAY_US / step_us)
        async for _ in super().generate(GenerationRequest(messages=(), max_new_tokens=steps)):
            pass


def _responds(request: GenerationRequest, part: str) -> bool:
    """Tell whether this is a respond phase that asks for a delay in `part`."""
    notes = any(m.text.startswith("Notes for the answer") for m in request.messages)
    return notes and part_in(request.messages[-1].text) == part


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
        if part_in(request.conversation[-1].text) == "ingress":
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


class DelayedIngress(IngressDeployment):
    """The product's ingress in front of a conductor that is told late."""

    def turns(self, conductor: Conductor) -> Turns:
        """Return the product's conductor, told late."""
        return SlowTurns(conductor)


def build(args: dict[str, Any]) -> serve.Application:
    """Return the product's application with delays on demand in every part."""
    return compose(check(args), DelayedEngineDeployment, DelayedAgent, PIN_ROUTER, DelayedIngress)
