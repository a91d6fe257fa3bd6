"""The allocator's actor, as replicas reach it: found by name, made by whoever comes first.

The actor is named and detached: it belongs to the application, not to a replica, and Ray restarts
it for ever. Its state is soft; whoever calls it must live with its silence.
"""

import logging
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.serving.pool import AllocatorSilent, NodeCard

NAMESPACE = "coordsvc"

log = logging.getLogger(__name__)


def allocator_name(app: str) -> str:
    """Return the name of an application's allocator actor."""
    return f"coordsvc-allocator-{app}"


def instruments_name(app: str) -> str:
    """Return the name of an application's instrumentation actor."""
    return f"coordsvc-instruments-{app}"


def find(name: str) -> ActorHandle[Any] | None:
    """Return a named actor of ours, or None where there is none."""
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


class RayPool:
    """The way to one application's allocator."""

    def __init__(self, app: str) -> None:
        self._name = allocator_name(app)
        self._actor: ActorHandle[Any] | None = None

    async def join(self, card: NodeCard) -> None:
        """Ask to be joined; an allocator that is silent now will be asked again."""
        try:
            await self._reach().join.remote(card)
        except (RayActorError, AllocatorSilent):
            self._actor = None

    async def exchange(self, report: DeskReport, wait_s: float) -> DeskReply:
        """Tell what happened at a desk, and hear what is new; raise `AllocatorSilent`."""
        try:
            reply: DeskReply = await self._reach().exchange.remote(report, wait_s)
        except RayActorError as error:
            self._actor = None
            raise AllocatorSilent(str(error)) from error
        except RayTaskError as error:
            # a bug in the allocator must not end the desk's line: it goes on as in any silence
            log.exception("the allocator failed at a report of %s", report.desk)
            raise AllocatorSilent(str(error)) from error
        return reply

    def _reach(self) -> ActorHandle[Any]:
        if self._actor is None:
            self._actor = find(self._name)
        if self._actor is None:
            raise AllocatorSilent(f"there is no actor {self._name}")
        return self._actor
