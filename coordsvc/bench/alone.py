"""The service in one process: its own agents on one engine that is theirs, with nobody to wait for.

Turns, prompts and answers are the service's own; what is left out is all that coordinates: Ray,
desks that must ask, and a second client. A mark before the first words of a prompt says how far
the engine's prefix cache may reach: prompts with different marks have no beginning in common.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from coordsvc.agents.conductor import Conductor
from coordsvc.agents.roles import ROLES, Budget
from coordsvc.agents.worker import Worker
from coordsvc.bench.open_desk import OpenDesk
from coordsvc.core.accounting import PhaseEvent, PhaseReport, TurnResult
from coordsvc.core.dialogue import Phase, PhaseWork, TurnRequest
from coordsvc.core.errors import CoordinationError
from coordsvc.core.generation import Chunk, GenerationRequest, Message, Sampling
from coordsvc.core.offers import Grant
from coordsvc.core.units import SECOND, AgentId, Micros, NodeId
from coordsvc.ports import Clock, Engine
from coordsvc.settings import AppSettings

HERE = NodeId("here")
PATIENCE_US = Micros(3_600 * SECOND)
"""Of a turn: nobody waits for it, and a phase of an hour is a fault."""


class MarkedEngine:
    """The port `Engines`, with one engine; marks prompts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialogue = 0
        self._phase = 0
        self._keep = True

    def begin(self, *, keep: bool) -> None:
        """Have a new dialogue find nothing cached, and each of its phases neither unless `keep`."""
        self._dialogue += 1
        self._phase = 0
        self._keep = keep

    async def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        """Yield the reply."""
        del grant, stream
        self._phase += 1
        mark = f"({self._dialogue})" if self._keep else f"({self._dialogue}.{self._phase})"
        first, *more = request.messages
        marked = (Message(first.speaker, f"{mark} {first.text}"), *more)
        async with aclosing(self._engine.generate(replace(request, messages=marked))) as chunks:
            async for chunk in chunks:
                yield chunk


class AgentsHere:
    """The port `Agents`: a worker each, in this process."""

    def __init__(self, workers: Mapping[AgentId, Worker]) -> None:
        self._workers = workers

    async def work(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent]:
        """Yield what the agent's worker yields."""
        async with aclosing(self._workers[work.run.agent].work(work)) as events:
            async for event in events:
                yield event


class Unrecorded:
    """The port `TurnRecorder`: whoever measures has the results themselves."""

    def answered(self, result: TurnResult) -> None:
        """Count nothing."""

    def checked_late(self, phases: tuple[PhaseReport, ...]) -> None:
        """Count nothing."""

    def check_lost(self, turn_id: str, error: CoordinationError) -> None:
        """Count nothing."""


class Alone:
    """Holds dialogues, one turn after another."""

    def __init__(self, settings: AppSettings, engine: Engine, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._engine = MarkedEngine(engine)
        checker = settings.agents.checker
        budget = Budget(
            plan_tokens=settings.agents.planner.tokens_max,
            check_tokens=checker.tokens_max if checker else 0,
        )
        workers = {
            agent: Worker(
                ROLES[agent],
                dict.fromkeys(Phase, own.demand.resources()),
                budget,
                OpenDesk(agent, HERE),
                self._engine,
                clock,
            )
            for agent, own in settings.agents.by_id().items()
        }
        self._conductor = Conductor(AgentsHere(workers), settings.rules(), clock, Unrecorded())
        self._turns = 0

    async def talk(self, said: tuple[str, ...], *, keep: bool) -> list[TurnResult]:
        """Return the turns that answer what a user says in turn; `keep` keeps prefixes cached."""
        self._engine.begin(keep=keep)
        conversation: tuple[Message, ...] = ()
        results: list[TurnResult] = []
        for text in said:
            conversation += (Message("user", text),)
            results.append(await self._turn(conversation))
            conversation += (Message("assistant", results[-1].text),)
        return results

    async def _turn(self, conversation: tuple[Message, ...]) -> TurnResult:
        self._turns += 1
        http = self._settings.http
        request = TurnRequest(
            turn_id=f"alone-{self._turns}",
            conversation=conversation,
            max_tokens=http.max_tokens_default,
            sampling=Sampling(temperature=http.temperature_default),
            deadline_us=PATIENCE_US,
        )
        result: TurnResult | None = None
        async with aclosing(self._conductor.converse(request, self._clock.now())) as events:
            async for event in events:
                if isinstance(event, TurnResult):
                    result = event
        assert result is not None, "a turn ends in its result"
        return result
