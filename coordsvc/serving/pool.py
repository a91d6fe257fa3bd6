"""What replicas and the allocator say to each other beside the core's messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from coordsvc.core.computed import Computed
from coordsvc.core.errors import CoordinationError
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import Epoch, NodeId, OfferId, RoleId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCard:
    """What an engine replica says when it asks to be joined."""

    node: NodeId
    capacity: Resources
    attributes: Mapping[str, str] = field(default_factory=dict)
    reserved: Mapping[RoleId, Resources] = field(default_factory=dict)
    """What of the capacity only these agents are offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """An engine's regular word: what runs, and what has ended since the last."""

    running: frozenset[OfferId] = frozenset()
    finished: tuple[OfferId, ...] = ()
    broken_reservations: int = 0
    cached: frozenset[str] | None = None
    """Names of the conversations cached there; None when they are what they were."""
    computed: Computed | None = None
    """How long it has computed."""
    waiting: int = 0
    """Requests that wait inside the engine."""
    superseded: bool = False
    """A later epoch has fenced this engine: the watcher must stop."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A call ended in this error, which is part of the protocol.

    It travels as a value: a raised one would be wrapped in Ray's task error, with a traceback
    made, shipped and logged for something that is normal.
    """

    error: CoordinationError


class AllocatorSilent(Exception):
    """The allocator cannot be reached now; Ray is restarting it, or will."""


class Pool(Protocol):
    """The allocator, as replicas reach it. Whoever calls it must live with its silence."""

    async def join(self, card: NodeCard) -> None:
        """Ask to be joined; where nobody hears it, nothing happens."""
        ...

    async def exchange(self, report: DeskReport, wait_s: float) -> DeskReply:
        """Tell what happened at a desk, and hear what is new; raise `AllocatorSilent`."""
        ...


class EngineLink(Protocol):
    """What the allocator asks of an engine. Each call raises `NodeGone` when it has died."""

    async def fence(self, epoch: Epoch, above: OfferId) -> tuple[Grant, ...] | None:
        """Have unstarted work of earlier epochs refused, and of this one up to `above`.

        Returns all that runs there; None if a later epoch has fenced the engine.
        """
        ...

    async def void(self, offer_id: OfferId) -> bool:
        """Have the offer never started; return whether it runs already."""
        ...

    async def preempt(self, offer_id: OfferId) -> None:
        """Have what runs under the grant ended now; its phase goes on elsewhere."""
        ...

    async def watch(self, epoch: Epoch, wait_s: float) -> Watched:
        """Return the engine's word after `wait_s`; raise `NodeGone` as soon as it dies."""
        ...

    async def left(self) -> None:
        """Return as soon as the engine is to be stopped: it runs on until it is empty."""
        ...
