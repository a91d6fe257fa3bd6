"""A node that trains: an accelerator on which agents' training runs under their grants.

There is one thread, as torch has one source of chance in a process. What runs there cannot be
cancelled: it is asked to stop, does so after the step it is at, and writes a checkpoint. Only then
has its grant ended, for until then it computes.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any

from coordsvc.agents.trainee import warm_name
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.core.units import AgentId, NodeId
from coordsvc.ports import Clock, Trainee
from coordsvc.serving.guarded import GuardedNode
from coordsvc.serving.pool import Failure, Pool


class TrainingNode(GuardedNode):
    """Trains under grants; an agent's training stays loaded for its next stretch."""

    def __init__(
        self,
        load: Callable[[AgentId], Trainee],
        node: NodeId,
        capacity: Resources,
        attributes: Mapping[str, str],
        pool: Pool,
        clock: Clock,
    ) -> None:
        """`load` is called in a thread, once for each agent that comes here; it may take long."""
        super().__init__(node, capacity, pool, clock)
        self._load = load
        self._attributes = dict(attributes)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="train")
        self._trainees: dict[AgentId, Trainee] = {}

    def start(self) -> None:
        """Begin to ask to be joined; the running loop is the node's from now on."""
        self._join(self._attributes)

    async def train(
        self, stretch: Stretch, grant: Grant, *, node: str | None = None
    ) -> Stretched | Refusal | Failure:
        """Train the stretch under the grant; `node` is for the router."""
        del node
        work = self._granted(
            self._stretched(stretch), grant, warms=warm_name(stretch.agent), who="training"
        )
        (end,) = [item async for item in work]
        return end

    def is_last(self, item: Any) -> bool:
        """Answer True: training yields one thing, its end."""
        del item
        return True

    async def stop(self) -> None:
        """End all work; Serve has drained the replica before."""
        self._leave()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _stretched(self, stretch: Stretch) -> AsyncGenerator[Stretched]:
        stop = Event()
        loop = asyncio.get_running_loop()
        training = loop.run_in_executor(self._threads, self._train, stretch, stop.is_set)
        try:
            end = await asyncio.shield(training)
        except asyncio.CancelledError:
            stop.set()
            with suppress(Exception):  # nobody is left to hear of it
                await training
            raise
        yield end

    def _train(self, stretch: Stretch, stop: Callable[[], bool]) -> Stretched:
        if stretch.agent not in self._trainees:
            self._trainees[stretch.agent] = self._load(stretch.agent)
        return self._trainees[stretch.agent].train(stretch, stop)
