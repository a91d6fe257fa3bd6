"""What every node of the pool does, whatever it computes: honour grants, and tell of them.

The guard is the authority on what runs here. The allocator fences it before it offers anything,
and then keeps a `watch` call open: the node's regular word on what runs and what has ended, and,
by breaking, the news of its death. As long as nobody watches, the node asks to be joined.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any, TypeVar

from coordsvc.core.computed import Computing
from coordsvc.core.errors import CoordinationError
from coordsvc.core.fleet import accelerators, share
from coordsvc.core.guard import Guard, Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.scaling_report import EngineSums
from coordsvc.core.units import Epoch, NodeId, OfferId, RoleId
from coordsvc.ports import Clock
from coordsvc.serving.bugs import bug_answered
from coordsvc.serving.pool import Failure, NodeCard, Pool, Watched

T = TypeVar("T")

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


class GuardedNode:
    """A node's side of the protocol: its guard, its book of time, its line to the allocator."""

    log_text = False
    """Whether errors are logged in words that may repeat a dialogue."""

    def __init__(
        self,
        node: NodeId,
        capacity: Resources,
        pool: Pool,
        clock: Clock,
        *,
        reserved: Mapping[RoleId, Resources] | None = None,
        guarded: bool = True,
    ) -> None:
        self._node = node
        self._pool = pool
        self._clock = clock
        self._computing = Computing(clock.now(), accelerators(capacity))
        self._sums = EngineSums(clock.now(), capacity)
        self._guard = Guard(capacity)
        self._guarded = guarded
        self._reserved = dict(reserved or {})
        self._cached = CachedPrefixes()
        self._tasks: dict[OfferId, asyncio.Task[Any]] = {}
        """What runs under each grant, to be ended if the allocator preempts it."""
        self._preempted: set[OfferId] = set()
        self._watchers = 0
        self._joining: asyncio.Task[None] | None = None

    def waiting(self) -> int:
        """Return how many of the admitted wait inside, and are not computed yet."""
        return 0

    def is_last(self, item: Any) -> bool:
        """Tell whether work that has yielded this has nothing left to compute."""
        raise NotImplementedError

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
            waiting=self.waiting(),
        )

    def _join(self, attributes: Mapping[str, str]) -> None:
        """Begin to ask to be joined, whenever nobody watches."""
        if self._guarded:
            card = NodeCard(
                node=self._node,
                capacity=self._guard.capacity,
                attributes=attributes,
                reserved=self._reserved,
            )
            self._joining = asyncio.create_task(self._keep_joined(card))

    def _leave(self) -> None:
        if self._joining is not None:
            self._joining.cancel()

    async def _granted(
        self, work: AsyncGenerator[T], grant: Grant, *, warms: str, who: str
    ) -> AsyncGenerator[T | Refusal | Failure]:
        """Yield what the work yields, if the grant is honoured.

        `warms`: the name of what is found here faster from then on; `who` is at fault for a bug.
        """
        if self._guarded and (refusal := self._guard.admit(grant)) is not None:
            await work.aclose()
            yield refusal
            return
        with self._running(grant) as ended:
            task = asyncio.current_task()
            assert task is not None, "calls are answered by tasks"
            if self._guarded:
                self._tasks[grant.offer_id] = task
            try:
                async with aclosing(work):
                    async for item in work:
                        if self.is_last(item):
                            ended()  # before anybody hears of it, and uses the grant again
                            self._cached.used(warms)
                        yield item
            except CoordinationError as error:
                ended()
                yield Failure(error)
            except Exception as error:  # noqa: BLE001 - a bug: Serve would log it in its own words
                ended()
                yield bug_answered(error, who, words=self.log_text)
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

    async def _keep_joined(self, card: NodeCard) -> None:
        while True:
            if not self._watchers:
                # a call to an allocator that has just died hangs for a second or two; another one,
                # made once it lives again, is answered at once
                with suppress(TimeoutError):
                    async with asyncio.timeout(REJOIN_S):
                        await self._pool.join(card)
            await asyncio.sleep(REJOIN_S)
