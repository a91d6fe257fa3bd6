"""An engine's own book: the authority on what runs there, whatever the allocator believes.

The sum of running grants never exceeds the capacity. A grant is refused when its epoch has been
fenced off, when it was voided, when its use was seen before, or when there is no room; that last
one is a broken reservation, and must never happen.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import Epoch, OfferId


class Refusal(StrEnum):
    """Why an engine does not honour a grant."""

    STALE_EPOCH = "stale_epoch"
    VOIDED = "voided"
    REPEATED = "repeated"
    NO_ROOM = "no_room"
    """A broken reservation."""
    PREEMPTED = "preempted"
    """It ran, and was ended for somebody who is entitled to its bundle."""


@dataclass(slots=True)
class Journal:
    """What the guard has counted since the engine started."""

    admitted: int = 0
    finished: int = 0
    refused: dict[Refusal, int] = field(default_factory=lambda: dict.fromkeys(Refusal, 0))

    @property
    def broken_reservations(self) -> int:
        """Valid grants that were refused for lack of room."""
        return self.refused[Refusal.NO_ROOM]


@dataclass(slots=True)
class Guard:
    """The book of one engine replica."""

    capacity: Resources
    remembered_max: int = 65_536
    """Ended offers whose ids are remembered, so that a late repeat is refused."""
    finished_max: int = 65_536
    """Ended offers that the allocator has not been told of; older ones it learns by fencing."""
    epoch: Epoch | None = None
    journal: Journal = field(default_factory=Journal)
    _free: Resources = Resources()
    _running: dict[OfferId, Grant] = field(default_factory=dict)
    _uses: OrderedDict[OfferId, int] = field(default_factory=OrderedDict)
    _voided: OrderedDict[OfferId, None] = field(default_factory=OrderedDict)
    _finished: OrderedDict[OfferId, None] = field(default_factory=OrderedDict)
    _finished_before: OrderedDict[OfferId, None] = field(default_factory=OrderedDict)
    _fenced_up_to: OfferId = OfferId(0)

    def __post_init__(self) -> None:
        self._free = self.capacity

    def admit(self, grant: Grant) -> Refusal | None:
        """Book the grant as running; or return why not, with nothing changed but the count."""
        refusal = self._refusal(grant)
        if refusal is not None:
            self.journal.refused[refusal] += 1
            return refusal
        self._free -= grant.bundle
        self._running[grant.offer_id] = grant
        self._finished.pop(grant.offer_id, None)
        self._finished_before.pop(grant.offer_id, None)
        self._uses[grant.offer_id] = grant.use
        self._uses.move_to_end(grant.offer_id)
        _forget_oldest(self._uses, self.remembered_max)
        self.journal.admitted += 1
        return None

    def finish(self, grant: Grant) -> None:
        """Strike out a running grant; its room is free at once."""
        running = self._running.pop(grant.offer_id)
        assert running == grant, "one grant runs one phase at a time"
        self._free += grant.bundle
        self._finished[grant.offer_id] = None
        _forget_oldest(self._finished, self.finished_max)
        self.journal.finished += 1

    def void(self, offer_id: OfferId) -> bool:
        """Never start this offer from now on, unless it runs already; return whether it does."""
        if offer_id in self._running:
            return True
        self._voided[offer_id] = None
        _forget_oldest(self._voided, self.remembered_max)
        return False

    def fence(self, epoch: Epoch, above: OfferId = OfferId(0)) -> tuple[Grant, ...] | None:
        """Refuse unstarted work of earlier epochs, and return all that runs.

        Of `epoch` itself, only offers numbered above `above` are started from now on: an allocator
        that lost sight of a living engine has given up what it had offered there before.
        None says that `epoch` itself has been fenced off by a later one.
        """
        if self.epoch is not None and self.epoch.supersedes(epoch):
            return None
        self.epoch = epoch
        self._fenced_up_to = max(self._fenced_up_to, above)
        self._finished.clear()
        self._finished_before.clear()
        return self.running()

    def running(self) -> tuple[Grant, ...]:
        """Return the grants that run, longest running first."""
        return tuple(self._running.values())

    def take_finished(self) -> tuple[OfferId, ...]:
        """Return what had ended when this was last asked, each once.

        The desk that ran it tells sooner; this is the word that counts when the desk cannot.
        What was told is never used again: whoever was told may have given its bundle away.
        """
        told = tuple(self._finished_before)
        for offer_id in told:
            self.void(offer_id)
        self._finished_before, self._finished = self._finished, OrderedDict()
        return told

    def _refusal(self, grant: Grant) -> Refusal | None:
        if self.epoch is None or self.epoch.supersedes(grant.epoch):
            return Refusal.STALE_EPOCH
        if grant.epoch.run != self.epoch.run:
            return Refusal.STALE_EPOCH
        if grant.offer_id in self._voided or grant.offer_id <= self._fenced_up_to:
            return Refusal.VOIDED
        if grant.offer_id in self._running or grant.use <= self._uses.get(grant.offer_id, 0):
            return Refusal.REPEATED
        if not self._free.covers(grant.bundle):
            return Refusal.NO_ROOM
        return None


def _forget_oldest(remembered: OrderedDict[OfferId, Any], most: int) -> None:
    while len(remembered) > most:
        remembered.popitem(last=False)
