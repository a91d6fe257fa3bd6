"""One engine replica: an accelerator's worth of model behind its own guard.

The guard is the authority on what runs here. The allocator fences it before it offers anything,
and then keeps a `watch` call open: the replica's regular word on what runs and what has ended,
and, by breaking, the news of its death. As long as nobody watches, the replica asks to be joined.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any

from coordsvc.core.computed import Computing
from coordsvc.core.errors import CoordinationError, EngineBroken
from coordsvc.core.fleet import accelerators, share
from coordsvc.core.generation import Chunk, EngineInfo, GenerationRequest
from coordsvc.core.guard import Guard, Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.scaling_report import EngineSums
from coordsvc.core.units import Epoch, NodeId, OfferId, RoleId
from coordsvc.ports import Clock, Engine
from coordsvc.serving.bugs import bug_answered
from coordsvc.serving.pool import Failure, NodeCard, Pool, Watched

CACHED_MAX = 64
"""Conversations named to the allocator; each offer carries their names."""
REJOIN_S = 0.25
"""How often an unwatched replica asks to be joined."""


class CachedPrefixes:
    """Names of the conversations last computed here, the latest last; the engine has them still.

    Roughly: an engine forgets by tokens, and does not say which.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()
        self._changed = False

    def used(self, name: str) -> None:
        """Take note of a conversation whose prefix was just computed, or found."""
        if not name:
            return
        self._changed = self._changed or name not in self._names
        self._names[name] = None
        self._names.move_to_end(name)
        if len(self._names) > CACHED_MAX:
            self._names.popitem(last=False)

    def news(self) -> frozenset[str] | None:
        """Return all names if one has been added since the last time, else None."""
        if not self._changed:
            return None
        self._changed = False
        return frozenset(self._names)


class EngineReplica:
    """Runs granted work on one engine."""

    log_text = False
    """Whether errors are logged in words that may repeat a dialogue."""

    def __init__(
        self,
        engine: Engine,
        node: NodeId,
        capacity: Resources,
        attributes: Mapping[str, str],
        pool: Pool,
        clock: Clock,
        *,
        reserved: Mapping[RoleId, Resources] | None = None,
        guarded: bool = True,
    ) -> None:
        self._engine = engine
        self._node = node
        self._attributes = dict(attributes)
        self._pool = pool
        self._clock = clock
        self._computing = Computing(clock.now(), accelerators(capacity))
        self._sums = EngineSums(clock.now(), capacity)
        self._batch_max = 0
        self._guard = Guard(capacity)
        self._guarded = guarded
        self._reserved = dict(reserved or {})
        self._cached = CachedPrefixes()
        self._tasks: dict[OfferId, asyncio.Task[Any]] = {}
        """What runs under each grant, to be ended if the allocator preempts it."""
        self._preempted: set[OfferId] = set()
        self._watchers = 0
        self._fenced = asyncio.Event()
        self._joining: asyncio.Task[None] | None = None

    async def start(self) -> EngineInfo:
        """Load the engine, then keep asking to be joined while nobody watches."""
        info = await self._engine.start()
        self._batch_max = info.batch_max
        if self._guarded:
            self._joining = asyncio.create_task(self._keep_joined(info))
        return info

    async def run(
        self, request: GenerationRequest, grant: Grant, *, node: str | None = None
    ) -> Chunk | Refusal | Failure:
        """Return the whole reply as one chunk; `node` is for the router."""
        del node
        pieces: list[str] = []
        async with aclosing(self._granted(request, grant)) as chunks:
            async for chunk in chunks:
                if not isinstance(chunk, Chunk):
                    return chunk
                pieces.append(chunk.text)
                if chunk.report is not None:
                    return Chunk("".join(pieces), chunk.report)
        raise EngineBroken("the engine ended without a report")

    async def stream(
        self, request: GenerationRequest, grant: Grant, *, node: str | None = None
    ) -> AsyncGenerator[Chunk | Refusal | Failure]:
        """Yield the reply as it is made; `node` is for the router."""
        del node
        async with aclosing(self._granted(request, grant)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def fence(
        self, epoch: Epoch, above: OfferId, *, node: str | None = None
    ) -> tuple[Grant, ...] | None:
        """Refuse unstarted work of earlier epochs, and of this one up to `above`, from now on.

        Returns all that runs. None says that a later epoch has been here: the caller must stop.
        """
        del node
        return self._guard.fence(epoch, above)

    async def void(
        self, offer_ids: tuple[OfferId, ...], *, node: str | None = None
    ) -> dict[OfferId, bool]:
        """Never start these offers from now on; return for each whether it runs already."""
        del node
        return {offer_id: self._guard.void(offer_id) for offer_id in offer_ids}

    async def preempt(self, offer_id: OfferId, *, node: str | None = None) -> None:
        """End what runs under a grant; whoever waits for it hears `Refusal.PREEMPTED`."""
        del node
        if (task := self._tasks.get(offer_id)) is not None:
            self._preempted.add(offer_id)
            task.cancel()

    async def watch(self, epoch: Epoch, wait_s: float, *, node: str | None = None) -> Watched:
        """Return what runs and what has ended, after `wait_s`; by breaking, tell of our death."""
        del node
        self._watchers += 1
        try:
            await asyncio.sleep(wait_s)
        finally:
            self._watchers -= 1
        if self._guard.epoch != epoch:
            return Watched(superseded=True)
        running = frozenset(grant.offer_id for grant in self._guard.running())
        return Watched(
            running=running,
            finished=self._guard.take_finished(),
            broken_reservations=self._guard.journal.broken_reservations,
            cached=self._cached.news(),
            computed=self._computing.word(self._clock.now()),
            waiting=max(0, self._engine.running() - self._batch_max),
        )

    async def journal(self, *, node: str | None = None) -> dict[str, Any]:
        """Return what the guard has counted, and what runs now."""
        del node
        counted = self._guard.journal
        return {
            "node": self._node,
            "admitted": counted.admitted,
            "finished": counted.finished,
            "refused": {reason.value: count for reason, count in counted.refused.items()},
            "broken_reservations": counted.broken_reservations,
            "running": len(self._guard.running()),
            "in_engine": self._engine.running(),
        }

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return how much of the engine was taken so far; Serve asks regularly, where it scales."""
        return self._sums.report(self._clock.now())

    def check_health(self) -> None:
        """Raise `EngineBroken` if this replica should be replaced; Serve asks regularly."""
        self._engine.check()

    async def stop(self) -> None:
        """End all work; Serve has drained the replica before."""
        if self._joining is not None:
            self._joining.cancel()
        await self._engine.stop()

    async def _granted(
        self, request: GenerationRequest, grant: Grant
    ) -> AsyncGenerator[Chunk | Refusal | Failure]:
        if self._guarded and (refusal := self._guard.admit(grant)) is not None:
            yield refusal
            return
        with self._running(grant) as ended:
            task = asyncio.current_task()
            assert task is not None, "calls are answered by tasks"
            if self._guarded:
                self._tasks[grant.offer_id] = task
            try:
                async with aclosing(self._engine.generate(request)) as chunks:
                    async for chunk in chunks:
                        if chunk.report is not None:
                            ended()  # before anybody hears of it, and uses the grant again
                            self._cached.used(request.prefix_key)
                        yield chunk
            except CoordinationError as error:
                ended()
                yield Failure(error)
            except Exception as error:  # noqa: BLE001 - a bug: Serve would log it in its own words
                ended()
                yield bug_answered(error, "an engine", words=self.log_text)
            except asyncio.CancelledError:
                if grant.offer_id not in self._preempted:
                    raise  # the caller went away
                task.uncancel()
                ended()
                yield Refusal.PREEMPTED
            finally:
                self._tasks.pop(grant.offer_id, None)
                self._preempted.discard(grant.offer_id)

    @contextmanager
    def _running(self, grant: Grant) -> Iterator[Callable[[], None]]:
        """Strike the grant out when the work says that it ended, and in any case at the end."""
        running = self._guarded
        taken = share(grant.bundle, self._guard.capacity)
        self._computing.changed(self._clock.now(), taken if running else 0)
        if running:
            self._sums.began(self._clock.now(), grant.bundle)

        def ended() -> None:
            nonlocal running
            if running:
                running = False
                self._guard.finish(grant)
                self._computing.changed(self._clock.now(), -taken)
                self._sums.ended(self._clock.now(), grant.bundle)

        try:
            yield ended
        finally:
            ended()

    async def _keep_joined(self, info: EngineInfo) -> None:
        card = NodeCard(
            node=self._node,
            capacity=self._guard.capacity,
            attributes={"model": info.model, "engine": info.kind, **self._attributes},
            reserved=self._reserved,
        )
        while True:
            if not self._watchers:
                # a call to an allocator that has just died hangs for a second or two; another one,
                # made once it lives again, is answered at once
                with suppress(TimeoutError):
                    async with asyncio.timeout(REJOIN_S):
                        await self._pool.join(card)
            await asyncio.sleep(REJOIN_S)
