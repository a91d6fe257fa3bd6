"""The engines, as an agent's replica calls them: each call pinned to the node its grant names."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ray.serve.handle import DeploymentHandle

from coordsvc.core.errors import GrantRefused, NodeGone
from coordsvc.core.generation import Chunk, GenerationRequest
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.serving.wire import quick, streamed, translated, unary


class ServeEngines:
    """Calls engine replicas through one long-lived handle."""

    def __init__(self, engine: DeploymentHandle[Any]) -> None:
        self._run = quick(engine, "run")
        self._stream = quick(engine, "stream", stream=True)

    async def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        """Yield the reply; in one piece unless `stream`. The last chunk carries the report."""
        async with translated(NodeGone, f"engine {grant.node}"):
            if not stream:
                yield _granted(await unary(self._run.remote(request, grant, node=grant.node)))
                return
            call = self._stream.remote(request, grant, node=grant.node)
            async with aclosing(streamed(call)) as answers:
                async for answer in answers:
                    yield _granted(answer)


def _granted(answer: Chunk | Refusal) -> Chunk:
    if isinstance(answer, Refusal):
        raise GrantRefused(answer.value)
    return answer
