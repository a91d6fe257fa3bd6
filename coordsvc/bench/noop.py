"""Calls that do nothing, timed beside the calls of a turn: what the part `call` is checked against.

They go the same ways with the same arguments: from the ingress to each agent, and from each agent
to the engine that its grant names. A turn makes them only if its text asks for it.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from coordsvc.agents.conductor import Conductor
from coordsvc.clock import MonotonicClock
from coordsvc.core.accounting import TurnEvent, TurnResult
from coordsvc.core.dialogue import WORKER, Phase, PhaseWork, Run, TurnRequest
from coordsvc.core.generation import Chunk, GenerationRequest
from coordsvc.core.offers import Grant
from coordsvc.core.units import AgentId, Instant, Micros, since
from coordsvc.ports import Engines, Turns
from coordsvc.serving.app import (
    PIN_ROUTER,
    AgentDeployment,
    EngineDeployment,
    IngressDeployment,
    compose,
)
from coordsvc.serving.wire import quick, unary
from coordsvc.settings import AppSettings, check

ASKED = "And time some calls that do nothing."
PHASES = (Phase.PLAN, Phase.RESPOND, Phase.CHECK)


class Timed:
    """Makes calls one by one, and remembers how long each took."""

    def __init__(self) -> None:
        self._clock = MonotonicClock()
        self.taken: list[Micros] = []

    async def call(self, method: Any, *args: object, **more: object) -> None:
        """Make one call to its end."""
        began = self._clock.now()
        await unary(method.remote(*args, **more))
        self.taken.append(since(began, self._clock.now()))


class TimedEngines:
    """The product's engines, and beside each call one that does nothing."""

    def __init__(self, inside: Engines, noop: Any, timed: Timed) -> None:
        self._inside = inside
        self._noop = noop
        self._timed = timed

    async def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        """Yield the reply."""
        if any(message.text.endswith(ASKED) for message in request.messages):
            await self._timed.call(self._noop, request, grant, node=grant.node)
        async with aclosing(self._inside.run(request, grant, stream=stream)) as chunks:
            async for chunk in chunks:
                yield chunk


class TimedTurns:
    """The product's conductor, and before each turn a call that does nothing to each agent."""

    def __init__(self, inside: Turns, noops: dict[AgentId, Any], timed: Timed) -> None:
        self._inside = inside
        self._noops = noops
        self._timed = timed

    async def converse(self, request: TurnRequest, arrived: Instant) -> AsyncGenerator[TurnEvent]:
        """Yield the turn."""
        if request.conversation[-1].text.endswith(ASKED):
            for phase in PHASES:
                await self._timed.call(self._noops[WORKER[phase]], _work(request, phase))
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


def _work(request: TurnRequest, phase: Phase) -> PhaseWork:
    return PhaseWork(
        turn_id=request.turn_id,
        run=Run(phase, WORKER[phase]),
        conversation=request.conversation,
        max_tokens=request.max_tokens,
        sampling=request.sampling,
        stream=False,
        left_us=request.deadline_us,
    )


class NoopEngine(EngineDeployment):
    """The product's engine replica, which can also do nothing."""

    async def noop(
        self, request: GenerationRequest, grant: Grant, *, node: str | None = None
    ) -> Chunk:
        """Return a piece of text without looking at anything."""
        del request, grant, node
        return Chunk("All is well.")


class NoopAgent(AgentDeployment):
    """The product's agent, which can also do nothing, and calls engines that can."""

    async def __init__(  # type: ignore[misc]
        self, agent: AgentId, settings: AppSettings, engine: DeploymentHandle[Any]
    ) -> None:
        self._timed = Timed()
        await super().__init__(agent, settings, engine)

    def engines(self, engine: DeploymentHandle[Any]) -> Engines:
        """Return the product's engines, with timed calls beside."""
        return TimedEngines(super().engines(engine), quick(engine, "noop"), self._timed)

    async def noop(self, work: PhaseWork) -> Chunk:
        """Return a piece of text without looking at anything."""
        del work
        return Chunk("All is well.")

    async def taken(self) -> list[Micros]:
        """Return how long each call to an engine took that did nothing."""
        return self._timed.taken


class NoopIngress(IngressDeployment):
    """The product's ingress, with timed calls to agents before a turn."""

    async def __init__(  # type: ignore[misc]
        self,
        settings: AppSettings,
        engine: DeploymentHandle[Any],
        agents: dict[AgentId, DeploymentHandle[Any]],
    ) -> None:
        self._timed = Timed()
        self._noops = {agent: quick(handle, "noop") for agent, handle in agents.items()}
        await super().__init__(settings, engine, agents)

    def turns(self, conductor: Conductor) -> Turns:
        """Return the product's conductor, with timed calls before."""
        return TimedTurns(conductor, self._noops, self._timed)

    async def taken(self) -> list[Micros]:
        """Return how long each call to an agent took that did nothing."""
        return self._timed.taken


def build(args: dict[str, Any]) -> serve.Application:
    """Return the product's application with calls beside that do nothing."""
    return compose(check(args), NoopEngine, NoopAgent, PIN_ROUTER, NoopIngress)
