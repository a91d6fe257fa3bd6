"""Ending processes of a running service without warning, and seeing what is there instead.

Only processes that Serve and the allocator name as their own are ended, each by its number.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client

from coordsvc.bench.deaths import AGENT, ALLOCATOR, ENGINE, Death
from coordsvc.bench.turns import Crowd, clock_s
from coordsvc.core.errors import EngineBroken
from coordsvc.serving.app import ENGINE as ENGINE_DEPLOYMENT
from coordsvc.serving.ray_pool import allocator_name, find

VICTIMS = ("Responder", "Planner", "Responder", "Checker")
"""Whose replica dies next: every second time that of those who stream."""
MIDWAY_MIN = 2
"""Replies half told when a process dies: with two replicas of each kind, it likely tells one."""
MIDWAY_LOOKS_MAX = 5_000
MIDWAY_POLL_S = 0.002
CALM_S = 1.0
"""Between a recovery and the next death."""
RECOVERY_S_MAX = 60.0
POLL_S = 0.05
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
        engine: Any = serve.get_deployment_handle(ENGINE_DEPLOYMENT, app_name=self._app)
        ask = engine.options(method_name="journal")
        return [await ask.remote(node=replica.name) for replica in self.replicas(ENGINE_DEPLOYMENT)]


class Reaper:
    """Kills one process of an application after another, and waits until it is replaced."""

    def __init__(self, service: Service, crowd: Crowd, say: Callable[[str], None]) -> None:
        self._service = service
        self._crowd = crowd
        self._say = say
        self._victims = cycle(VICTIMS)
        self.deaths: list[Death] = []

    async def round(self) -> None:
        """Kill one of each kind."""
        await self._replica(AGENT, next(self._victims))
        await self._replica(ENGINE, ENGINE_DEPLOYMENT)
        await self.allocator()

    async def _replica(self, kind: str, deployment: str) -> None:
        there = await asyncio.to_thread(self._service.replicas, deployment)
        await self._streams_midway()
        at = clock_s()
        self._service.end(there[0].pid)

        async def replaced() -> bool:
            living = await asyncio.to_thread(self._service.replicas, deployment)
            if len(living) < len(there):
                return False
            if kind != ENGINE:
                return True
            status = await self._service.allocator()
            return status is not None and {one.name for one in living} == set(status["nodes"])

        await self._recovered(kind, at, replaced)

    async def allocator(self) -> None:
        """Kill the allocator, and wait until its successor has made offers."""
        status = await self._service.allocator()
        assert status is not None, "nobody has killed it yet"
        epoch = status["epoch"]
        await self._streams_midway()
        at = clock_s()
        self._service.end(status["pid"])

        async def offers_again() -> bool:
            status = await self._service.allocator()
            if status is None or status["epoch"] == epoch:
                return False
            return any(desk["offers"] for desk in status["desks"].values())

        await self._recovered(ALLOCATOR, at, offers_again)

    async def _recovered(self, kind: str, at: float, over: Callable[[], Awaitable[bool]]) -> None:
        while not await over():
            if clock_s() - at > RECOVERY_S_MAX:
                raise EngineBroken(f"a killed {kind} was not replaced in {RECOVERY_S_MAX:.0f} s")
            await asyncio.sleep(POLL_S)
        self.deaths.append(Death(kind=kind, at_s=at, recovered_s=clock_s()))
        self._say(f"  {kind}: killed, and replaced after {self.deaths[-1].took_s:.1f} s")
        await asyncio.sleep(CALM_S)

    async def _streams_midway(self) -> None:
        """Return as soon as some replies are half told, so that the death hits one."""
        for _ in range(MIDWAY_LOOKS_MAX):
            if self._crowd.midway() >= MIDWAY_MIN:
                return
            await asyncio.sleep(MIDWAY_POLL_S)
