"""A replica's way to the instruments: gathered, sent without waiting, lost while they are away."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from coordsvc.core.accounting import PhaseReport, TurnResult
from coordsvc.core.errors import CoordinationError
from coordsvc.serving.ray_pool import find
from coordsvc.telemetry.pool import PoolSnapshot
from coordsvc.telemetry.scaling import ScalingTold

log = logging.getLogger(__name__)

TELL_S = 0.25
"""How long news for the instruments gathers before it is sent: a call costs a millisecond."""
UNTOLD_MAX = 10_000
"""News kept while the instruments are away; the oldest beyond it is lost."""


class InstrumentsLine:
    """A replica's way to the instruments; a `TurnRecorder` that gathers and never waits."""

    def __init__(self, name: str, reach: Callable[[str], ActorHandle[Any] | None] = find) -> None:
        self._name = name
        self._reach = reach
        self._actor: ActorHandle[Any] | None = None
        self._results: list[TurnResult] = []
        self._outcomes: list[str] = []
        self._late_checks: list[tuple[PhaseReport, ...]] = []
        self._untold = 0
        """Turns that were lost on the way, or never sent."""
        self._spans_dropped = 0
        self._refused: Counter[str] = Counter()
        self._sending: asyncio.Task[None] | None = None

    def answered(self, result: TurnResult) -> None:
        """Count a turn whose reply has been handed over."""
        self._results.append(result)
        self._soon()

    def ended(self, outcome: str) -> None:
        """Count a turn that ended in another way."""
        self._outcomes.append(outcome)
        self._soon()

    def checked_late(self, phases: tuple[PhaseReport, ...]) -> None:
        """Count a check that ended after its turn was counted."""
        self._late_checks.append(phases)
        self._soon()

    def check_lost(self, turn_id: str, error: CoordinationError) -> None:
        """Count a check after the reply that could not be run."""
        log.warning("the check of %s after its reply was lost: %s", turn_id, error)
        self.ended("check_lost")

    def spans_dropped(self, count: int) -> None:
        """Count spans that no collector got."""
        self._spans_dropped += count
        self._soon()

    def refused(self, reason: str) -> None:
        """Count a request that the door did not let in."""
        self._refused[reason] += 1
        self._soon()

    def snapshot(self, snapshot: PoolSnapshot) -> None:
        """Send what the allocator tells of itself, now."""
        try:
            if (actor := self._handle()) is not None:
                actor.pool.remote(snapshot)
        except RayActorError:
            self._actor = None

    def scaling(self, told: ScalingTold) -> None:
        """Send what the autoscaling policy decided, now."""
        try:
            if (actor := self._handle()) is not None:
                actor.scaling.remote(told)
        except RayActorError:
            self._actor = None

    def _soon(self) -> None:
        self._untold += max(0, len(self._results) - UNTOLD_MAX)
        del self._results[:-UNTOLD_MAX], self._outcomes[:-UNTOLD_MAX]
        del self._late_checks[:-UNTOLD_MAX]
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            await asyncio.sleep(TELL_S)
            if (actor := self._handle()) is None:
                return  # nobody is there yet: it is kept
            if self._spans_dropped:
                actor.spans_dropped.remote(self._spans_dropped)
                self._spans_dropped = 0
            if self._refused:
                actor.refused.remote(dict(self._refused))
                self._refused.clear()
            results, self._results = tuple(self._results), []
            outcomes, self._outcomes = tuple(self._outcomes), []
            late, self._late_checks = tuple(self._late_checks), []
            untold, self._untold = self._untold, self._untold + len(results)
            await actor.turns.remote(results, outcomes, untold, late)
            self._untold -= untold + len(results)
        except RayActorError:
            self._actor = None  # it will be found again under its name, or made anew
        finally:
            self._sending = None
            if self._has_news():
                self._soon()

    def _has_news(self) -> bool:
        return bool(
            self._results
            or self._outcomes
            or self._late_checks
            or self._spans_dropped
            or self._refused
        )

    def _handle(self) -> ActorHandle[Any] | None:
        if self._actor is None:
            self._actor = self._reach(self._name)
        return self._actor
