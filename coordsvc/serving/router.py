"""Sends a call to the engine replica that its grant names, without asking first.

Serve's own way is to start a task that looks at queue lengths, and to have the replica say whether
it takes the call before it is taken. The grant has settled both: it is the reservation, and the
engine's guard has the last word. Leaving them out saves a tenth of a turn that computes nothing.

`RequestRouter` is an alpha API of Serve 2.60, and this relies on more than its documented surface:
`_choose_replica_for_request`, `_remove_pending_request_from_indices`, and in `RunningReplica`
`is_cross_language` and `_get_replica_wrapper`. What it must do is in tests/integration.
"""

from itertools import count
from typing import Any

from ray.serve._private.common import RunningReplicaInfo
from ray.serve._private.replica_result import ReplicaResult
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from coordsvc.core.errors import NodeGone


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

    def create_replica_wrapper(self, replica_info: RunningReplicaInfo) -> RunningReplica:
        """Return the replica as calls reach it."""
        return GrantedReplica(replica_info)

    async def _choose_replica_for_request(
        self, pending_request: PendingRequest, *, is_retry: bool = False
    ) -> RunningReplica:
        """Return the replica at once; only where there is none at all, wait for one."""
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
