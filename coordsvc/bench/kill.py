"""Ending processes of a running service without warning, and seeing what is there instead.

Only processes that Serve and the allocator name as their own are ended, each by its number.
"""

import os
import signal
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client

from coordsvc.serving.app import ENGINE
from coordsvc.serving.ray_pool import allocator_name, find

ANSWER_S = 15.0
RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of a deployment."""

    name: str
    pid: int


class Service:
    """The processes of one application."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._killed: set[int] = set()

    def replicas(self, deployment: str) -> list[Replica]:
        """Return the replicas that Serve calls running, less those that were ended here."""
        client: Any = _get_global_client()
        found = client.get_serve_details()["applications"][self._app]["deployments"][deployment]
        return [
            Replica(one["replica_id"], one["pid"])
            for one in found["replicas"]
            if one["state"] == RUNNING and one["pid"] not in self._killed
        ]

    def end(self, pid: int) -> None:
        """End a process of this application at once: it gets no chance to say anything."""
        self._killed.add(pid)
        os.kill(pid, signal.SIGKILL)

    async def allocator(self) -> dict[str, Any] | None:
        """Return the allocator's status; None while it cannot tell."""
        actor = find(allocator_name(self._app))
        if actor is None:
            return None
        try:
            status: dict[str, Any] = await actor.status.remote()
        except ray.exceptions.RayActorError:
            return None
        return status

    async def journals(self) -> list[dict[str, Any]]:
        """Return what each living engine has written down."""
        engine: Any = serve.get_deployment_handle(ENGINE, app_name=self._app)
        ask = engine.options(method_name="journal")
        return [await ask.remote(node=replica.name) for replica in self.replicas(ENGINE)]
