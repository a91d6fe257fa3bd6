"""An agent at work: one phase from its prompt to its report, through whatever dies on the way."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from coordsvc.agents.roles import Budget, Role
from coordsvc.core.accounting import Delta, OfferTaken, PhaseDone, PhaseEvent, PhaseReport
from coordsvc.core.dialogue import Phase, PhaseWork
from coordsvc.core.errors import DeadlinePassed, FatalError, GrantRefused, NodeGone
from coordsvc.core.generation import GenerationReport, GenerationRequest
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, Instant, Micros, NodeId, TurnId, after, since
from coordsvc.core.waits import Wait
from coordsvc.ports import Clock, Engines, OfferDesk


@dataclass(slots=True)
class Attempt:
    """What one phase has cost so far, lost attempts included."""

    arrived: Instant
    deadline: Instant
    text: str
    """Of the reply, all that the caller has or will be given."""
    offer_wait_us: int = 0
    retry_us: int = 0
    engine_call_us: int = 0
    attempts: int = 0
    waited_us: Micros = Micros(0)
    """For the latest offer."""
    offers: list[OfferTaken] = field(default_factory=list)
    """Kept of traced turns only."""

    def took(self, grant: Grant, taken: Instant, ended: Instant, lost: str = "") -> None:
        """Keep what became of the latest offer."""
        self.offers.append(
            OfferTaken(
                node=grant.node,
                epoch=grant.epoch.n,
                offer_id=grant.offer_id,
                use=grant.use,
                wait_us=self.waited_us,
                taken_us=since(self.arrived, taken),
                ended_us=since(self.arrived, ended),
                lost=lost,
            )
        )


class Worker:
    """Does the phases of one agent: takes an offer, has the engine run, reads the answer."""

    def __init__(
        self,
        role: Role,
        demand: Mapping[Phase, Resources],
        budget: Budget,
        desk: OfferDesk,
        engines: Engines,
        clock: Clock,
    ) -> None:
        self._role = role
        self._demand = demand
        self._budget = budget
        self._desk = desk
        self._engines = engines
        self._clock = clock

    async def work(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent]:
        """Yield the phase's pieces (only if `work.stream`), then exactly one `PhaseDone`."""
        arrived = self._clock.now()
        request = self._role.ask(work, self._budget)
        phase = Attempt(arrived, after(arrived, work.left_us), work.prefix)
        near = work.near
        while True:
            grant = await self._take(work, phase, near)
            report: GenerationReport | None = None
            started = self._clock.now()
            try:
                async with aclosing(self._run(request, grant, phase, work)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, GenerationReport):
                            report = piece
                        else:
                            yield piece
            except (NodeGone, GrantRefused) as loss:
                self._lost(grant, loss)
                ended = self._clock.now()
                phase.retry_us += since(started, ended)
                if work.traced:
                    phase.took(grant, started, ended, _why(loss))
                near = None
                continue
            assert report is not None, "an engine's last chunk carries its report"
            ended = self._clock.now()
            phase.engine_call_us = since(started, ended)
            if work.traced:
                phase.took(grant, started, ended)
            yield self._done(work, phase, grant, report)
            return

    async def _take(self, work: PhaseWork, phase: Attempt, near: NodeId | None) -> Grant:
        asked = self._clock.now()
        wait = Wait(
            turn=TurnId(work.turn_id),
            asked=asked,
            arrived=Instant(phase.arrived - work.turn_us),
            deadline=phase.deadline,
            attained_us=work.attained_us,
            cost_us=work.cost_us,
            rest_us=work.rest_us,
            near=near,
            prefix=work.prefix_key,
        )
        grant = await self._desk.take(self._demand[work.run.phase], wait)
        phase.waited_us = since(asked, self._clock.now())
        phase.offer_wait_us += phase.waited_us
        phase.attempts += 1
        return grant

    async def _run(
        self, request: GenerationRequest, grant: Grant, phase: Attempt, work: PhaseWork
    ) -> AsyncGenerator[Delta | GenerationReport]:
        """Yield what the engine says; the grant ends on its word and on no other."""
        going_on = replace(request, prefix=phase.text) if phase.text else request
        run = self._engines.run(going_on, grant, stream=work.stream)
        ended, compute_us = False, Micros(0)
        try:
            async with aclosing(run):
                while True:
                    async with asyncio.timeout(self._left_s(phase)):
                        chunk = await anext(run)
                    phase.text += chunk.text
                    if work.stream and chunk.text:
                        yield Delta(chunk.text)
                    if chunk.report is not None:
                        ended, compute_us = True, chunk.report.compute_us
                        yield chunk.report
                        return
        except TimeoutError:
            raise DeadlinePassed(f"{work.run.phase} was not done in time") from None
        except FatalError:
            ended = True
            raise
        finally:
            if ended:
                late = self._clock.now() > phase.deadline
                self._desk.finished(grant, compute_us, late=late, phase=work.run.phase.value)
            else:
                self._desk.uncertain(grant)

    def _left_s(self, phase: Attempt) -> float:
        return max(0, phase.deadline - self._clock.now()) / SECOND

    def _lost(self, grant: Grant, loss: NodeGone | GrantRefused) -> None:
        if isinstance(loss, NodeGone):
            self._desk.node_lost(grant.node)
        else:
            self._desk.refused(grant, Refusal(loss.args[0]))

    def _done(
        self, work: PhaseWork, phase: Attempt, grant: Grant, report: GenerationReport
    ) -> PhaseDone:
        return PhaseDone(
            text=phase.text,
            finish=report.finish.value,
            verdict=self._role.read(phase.text),
            report=PhaseReport(
                phase=work.run.phase,
                agent=self._role.agent,
                node=grant.node,
                agent_us=since(phase.arrived, self._clock.now()),
                offer_wait_us=Micros(phase.offer_wait_us),
                engine_call_us=Micros(phase.engine_call_us),
                retry_us=Micros(phase.retry_us),
                attempts=phase.attempts,
                queue_us=report.queue_us,
                compute_us=report.compute_us,
                solo_us=report.solo_us,
                refill_us=report.refill_us,
                prompt_tokens=report.prompt_tokens,
                cached_tokens=report.cached_tokens,
                shared_tokens=report.shared_tokens,
                output_tokens=report.output_tokens,
                emulated=report.emulated,
                adapter=work.adapter,
                offers=tuple(phase.offers),
            ),
        )


def _why(loss: NodeGone | GrantRefused) -> str:
    """Return why an attempt was lost, in a word."""
    return "node_gone" if isinstance(loss, NodeGone) else Refusal(loss.args[0]).value
