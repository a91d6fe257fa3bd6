"""One replica of an agent: its workers, one for each tenant, as its callers reach them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from coordsvc.agents.worker import Worker
from coordsvc.core.accounting import PhaseDone, PhaseEvent
from coordsvc.core.dialogue import PhaseWork
from coordsvc.core.errors import CoordinationError
from coordsvc.serving.bugs import bug_answered
from coordsvc.serving.pool import Failure


class AgentReplica:
    """Answers the ingress's calls for one agent."""

    def __init__(self, worker_for: Callable[[str], Worker], *, log_text: bool = False) -> None:
        """`worker_for` returns who works for a tenant, each from a desk of its own.

        Without `log_text` no error is logged in words that may repeat a dialogue.
        """
        self._worker_for = worker_for
        self._log_text = log_text

    async def work(self, work: PhaseWork) -> PhaseDone | Failure:
        """Do the phase, and return its end; for phases that nobody watches."""
        try:
            async with aclosing(self._worker_for(work.tenant).work(work)) as events:
                async for event in events:
                    if isinstance(event, PhaseDone):
                        return event
        except CoordinationError as error:
            return Failure(error)
        except Exception as error:  # noqa: BLE001 - a bug: Serve would log it in its own words
            return bug_answered(error, work.run.agent, words=self._log_text)
        raise AssertionError("a phase ends in a PhaseDone")

    async def stream(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent | Failure]:
        """Do the phase, and yield its pieces and its end."""
        try:
            async with aclosing(self._worker_for(work.tenant).work(work)) as events:
                async for event in events:
                    yield event
        except CoordinationError as error:
            yield Failure(error)
        except Exception as error:  # noqa: BLE001 - the same
            yield bug_answered(error, work.run.agent, words=self._log_text)
