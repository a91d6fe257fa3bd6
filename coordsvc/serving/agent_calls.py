"""The agents, as the ingress calls them: one deployment each."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from ray.serve.handle import DeploymentHandle

from coordsvc.core.accounting import PhaseEvent
from coordsvc.core.dialogue import PhaseWork
from coordsvc.core.errors import AgentGone
from coordsvc.core.units import AgentId
from coordsvc.serving.wire import quick, streamed, translated, unary


class ServeAgents:
    """Calls agents' replicas through one long-lived handle each."""

    def __init__(self, agents: Mapping[AgentId, DeploymentHandle[Any]]) -> None:
        self._work = {agent: quick(handle, "work") for agent, handle in agents.items()}
        self._stream = {
            agent: quick(handle, "stream", stream=True) for agent, handle in agents.items()
        }

    async def work(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent]:
        """Yield the phase's pieces (only if `work.stream`), then exactly one `PhaseDone`."""
        agent = work.run.agent
        async with translated(AgentGone, agent):
            if not work.stream:
                yield await unary(self._work[agent].remote(work))
                return
            async with aclosing(streamed(self._stream[agent].remote(work))) as events:
                async for event in events:
                    yield event
