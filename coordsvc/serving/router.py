"""Pins a call to the engine replica that its grant names.

`RequestRouter` is an alpha API of Serve 2.60; what is relied on beyond its documented surface is
`_remove_pending_request_from_indices`, without which a request answered here is remembered for
ever. Serve's own queue-length probe is skipped: the grant is the reservation.

Serve sends a call again when its replica cannot be reached, and for a unary call over gRPC that
includes one that was running when the replica died. A pinned call has nowhere else to go: it would
be sent to the dead one, thousands of times a second, until the controller notices. So it ends.
"""

from itertools import count
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from coordsvc.core.errors import NodeGone


class PinRouter(RequestRouter):
    """Sends a call with the keyword `node` there and nowhere else; others take turns."""

    def initialize_state(self, **kwargs: Any) -> None:
        """Start taking turns at the first replica."""
        del kwargs
        self._turn = count()
        self._unreached: set[ReplicaID] = set()
        """Replicas that some call did not reach; what comes next may reach them again."""

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        """Take note that a call did not reach the replica; Serve is about to send it again."""
        super().on_replica_actor_unavailable(replica_id)
        self._unreached.add(replica_id)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take the controller's word on which replicas there are."""
        self._unreached.clear()
        super().update_replicas(replicas)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Return the pinned replica, having answered the request; a missing one ends it."""
        if pending_request is None:
            return [[candidate_replicas[next(self._turn) % len(candidate_replicas)]]]
        pending_request.routing_context.should_backoff = True  # else a full replica spins the loop
        node = pending_request.kwargs.get("node")
        if node is None:
            return [[candidate_replicas[next(self._turn) % len(candidate_replicas)]]]
        again = pending_request.routing_context.tried_same_node
        pending_request.routing_context.tried_same_node = True
        for replica in candidate_replicas:
            if replica.replica_id.unique_id == node:
                if again and replica.replica_id in self._unreached:
                    break
                if not pending_request.future.done():
                    pending_request.future.set_result(replica)
                self._remove_pending_request_from_indices(pending_request)
                return [[replica]]
        # raising here would only be logged, and the caller would wait for ever
        if not pending_request.future.done():
            pending_request.future.set_exception(NodeGone(f"engine {node} is not running"))
        self._remove_pending_request_from_indices(pending_request)
        return [[candidate_replicas[0]]]  # the loop looks at the future only after a candidate
