"""One replica of an agent: its workers, one for each tenant, as its callers reach them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from coordsvc.agents.worker import Worker
from coordsvc.core.accounting import PhaseDone, PhaseEvent
from coordsvc.core.dialogue import PhaseWork
from coordsvc.core.errors import CoordinationError
from coordsvc.serving.pool import Failure


class AgentReplica:
    """Answers the ingress's calls for one agent."""

    def __init__(self, worker_for: Callable[[str], Worker]) -> None:
        """`worker_for` returns who works for a tenant, each from a desk of its own."""
        self._worker_for = worker_for

    async def work(self, work: PhaseWork) -> PhaseDone | Failure:
        """Do the phase, and return its end; for phases that nobody watches."""
        try:
            async with aclosing(self._worker_for(work.tenant).work(work)) as events:
                async for event in events:
                    if isinstance(event, PhaseDone):
                        return event
        except CoordinationError as error:
            return Failure(error)
        raise AssertionError("a phase ends in a PhaseDone")

    async def stream(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent | Failure]:
        """Do the phase, and yield its pieces and its end."""
        try:
            async with aclosing(self._worker_for(work.tenant).work(work)) as events:
                async for event in events:
                    yield event
        except CoordinationError as error:
            yield Failure(error)
