"""Sends a call to the engine replica that its grant names, without asking first.

Serve's own way is to start a task that looks at queue lengths, and to have the replica say whether
it takes the call before it is taken. The grant has settled both: it is the reservation, and the
engine's guard has the last word. Leaving them out saves a tenth of a turn that computes nothing.

`RequestRouter` is an alpha API of Serve 2.60, and this relies on more than its documented surface:
`_choose_replica_for_request`, `_remove_pending_request_from_indices`, and in `RunningReplica`
`is_cross_language` and `_get_replica_wrapper`. What it must do is in tests/integration.

A replica that Serve stops leaves the list at once, long before its process ends. No work is sent
there any more; but the allocator must still be able to empty it, and what runs there goes on over
its open connection: so those that left are remembered for a while.
"""

import asyncio
from itertools import count
from typing import Any

from ray.serve._private.common import RunningReplicaInfo
from ray.serve._private.replica_result import ReplicaResult
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from coordsvc.core.errors import NodeGone

LEAVING_MAX = 256
"""Replicas that left and are remembered; their processes end within a minute."""
TO_LEAVING = frozenset({"watch", "void", "preempt", "journal"})
"""Methods that are called on a replica that leaves, too: to empty it, not to fill it."""
UNTIL_LEFT = "left"
"""No method: a call to it ends, with `NodeGone`, as soon as the replica has left."""


class GrantedReplica(RunningReplica):
    """A replica that is sent a call without being asked whether it takes it.

    If it is dead the call fails, and whoever made it goes elsewhere; Serve does not try again.
    """

    @property
    def is_cross_language(self) -> bool:
        """Answer True: the one thing that keeps Serve from asking first."""
        return True

    def try_send_request(self, pr: PendingRequest, with_rejection: bool) -> ReplicaResult:  # noqa: FBT001 - Serve's
        """Send the call."""
        del with_rejection
        return self._get_replica_wrapper(pr).send_request_python(pr, with_rejection=False)


class PinRouter(RequestRouter):
    """Sends a call with the keyword `node` there and nowhere else; others take turns."""

    def initialize_state(self, **kwargs: Any) -> None:
        """Start taking turns at the first replica."""
        del kwargs
        self._turn = count()
        self._leaving: dict[str, RunningReplica] = {}
        self._updated = asyncio.Event()

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take the list of those that run; remember who left it."""
        before = dict(self.curr_replicas)
        super().update_replicas(replicas)
        for replica_id, replica in before.items():
            if replica_id not in self.curr_replicas:
                self._leaving[replica_id.unique_id] = replica
        while len(self._leaving) > LEAVING_MAX:
            del self._leaving[next(iter(self._leaving))]
        self._updated.set()
        self._updated = asyncio.Event()

    def create_replica_wrapper(self, replica_info: RunningReplicaInfo) -> RunningReplica:
        """Return the replica as calls reach it."""
        return GrantedReplica(replica_info)

    async def _choose_replica_for_request(
        self, pending_request: PendingRequest, *, is_retry: bool = False
    ) -> RunningReplica:
        """Return the replica at once; only where there is none at all, wait for one."""
        node = pending_request.kwargs.get("node")
        method = pending_request.metadata.call_method
        if method == UNTIL_LEFT:
            await self._until_left(node)
            raise NodeGone(f"engine {node} has left")
        if node in self._leaving and method in TO_LEAVING:
            return self._leaving[node]
        if not self.curr_replicas:
            return await super()._choose_replica_for_request(pending_request, is_retry=is_retry)
        return self._pick(list(self.curr_replicas.values()), pending_request)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Return the replica for a call that had to wait for one, having answered the call."""
        if pending_request is None:
            return [[candidate_replicas[next(self._turn) % len(candidate_replicas)]]]
        pending_request.routing_context.should_backoff = True  # else a full replica spins the loop
        try:
            replica = self._pick(candidate_replicas, pending_request)
        except NodeGone as gone:
            # raised, this would only be logged, and the caller would wait for ever
            self._answer(pending_request, gone)
            return [[candidate_replicas[0]]]  # the loop looks at the answer only after a candidate
        self._answer(pending_request, replica)
        return [[replica]]

    async def _until_left(self, node: str | None) -> None:
        while any(one.unique_id == node for one in self.curr_replicas):
            await self._updated.wait()

    def _pick(self, replicas: list[RunningReplica], call: PendingRequest) -> RunningReplica:
        node = call.kwargs.get("node")
        if node is None:
            return replicas[next(self._turn) % len(replicas)]
        for replica in replicas:
            if replica.replica_id.unique_id == node:
                return replica
        raise NodeGone(f"engine {node} is not running")

    def _answer(self, call: PendingRequest, answer: RunningReplica | NodeGone) -> None:
        if not call.future.done():
            if isinstance(answer, NodeGone):
                call.future.set_exception(answer)
            else:
                call.future.set_result(answer)
        self._remove_pending_request_from_indices(call)
