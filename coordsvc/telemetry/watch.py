"""The service's life cut into windows, for the scaling law and the early warning."""

import logging
from math import ceil

from coordsvc.core.accounting import CAPACITY_PARTS, TurnResult
from coordsvc.core.collapse import Detector, DetectorTerms, EarlyWarning, Level
from coordsvc.core.fleet import WHOLE, States, measures
from coordsvc.core.units import SECOND, Instant, Micros, since
from coordsvc.core.window import Window
from coordsvc.telemetry.pool import PoolSnapshot

log = logging.getLogger(__name__)

WINDOW_US = Micros(10 * SECOND)
"""Where the settings say nothing else: some dozens of turns of a busy service."""
STARTED = frozenset({"accepted", "released"})
"""States of offers under which a phase began."""
GIVEN_BACK = frozenset({"declined"})
"""States of offers that were of no use. One that was held ahead and ran out is neither: an idle
service offers again what nobody takes, and that is no sign of anything."""
P95 = 0.95


class Watch:
    """Gathers turns and the pool's sums; tells the detector each window once it is over."""

    def __init__(self, terms: DetectorTerms | None = None, window_us: Micros = WINDOW_US) -> None:
        self._detector = Detector(terms)
        self._bound_us = self._detector.terms.bound_us
        self._window_us = window_us
        self._began: Instant | None = None
        self._turns: list[TurnResult] = []
        self._baseline_us = 0
        self._epoch = 0
        self._sums = _Sums()
        self._level = Level.CALM

    def turn(self, result: TurnResult, baseline_us: int) -> None:
        """Count a turn as ended in the window under way."""
        self._turns.append(result)
        self._baseline_us += baseline_us

    def pool(self, now: Instant, snapshot: PoolSnapshot) -> EarlyWarning | None:
        """Take the pool's sums; return what is to be said if a window is over."""
        sums = _Sums(snapshot)
        if self._began is None or snapshot.epoch != self._epoch:
            self._begin(now, snapshot.epoch, sums)  # sums of another life say nothing of this one
            return None
        lasts = since(self._began, now)
        if lasts < self._window_us:
            return None
        warning = self._detector.window(self._window(self._began, lasts, sums))
        self._begin(now, snapshot.epoch, sums)
        if warning.level != self._level:
            self._level = warning.level
            say = log.warning if warning.level is Level.WARNING else log.info
            say("collapse: %s: %s", warning.level.name.lower(), warning.why)
        return warning

    def _begin(self, now: Instant, epoch: int, sums: "_Sums") -> None:
        self._began, self._epoch, self._sums = now, epoch, sums
        self._turns, self._baseline_us = [], 0

    def _window(self, began: Instant, lasts_us: Micros, sums: "_Sums") -> Window:
        accounts = [result.account for result in self._turns]
        walls = sorted(account.wall_us for account in accounts)
        started, given_back = sums.started - self._sums.started, sums.unused - self._sums.unused
        fleet = measures(
            sums.states.minus(self._sums.states),
            lasts_us=lasts_us,
            turns=len(accounts),
            baseline_us=self._baseline_us,
            whole=WHOLE,
        )
        return Window(
            began=began,
            lasts_us=lasts_us,
            turns=len(accounts),
            concurrency=sum(walls) / lasts_us,  # Little's law
            c_coord_us=_mean([account.c_coord_us for account in accounts]),
            capacity_us=_mean(
                [sum(account.parts.get(part, 0) for part in CAPACITY_PARTS) for account in accounts]
            ),
            c_algo_us=fleet.c_algo_us,
            c_baseline_us=fleet.c_baseline_us,
            s_scale=fleet.s_scale,
            accelerators=fleet.accelerators,
            p95_us=walls[ceil(P95 * len(walls)) - 1] if walls else None,
            turns_slow=sum(1 for account in accounts if account.c_coord_us > self._bound_us),
            offers_made=max(0, started + given_back),
            offers_accepted=max(0, started),
            offers_unused=max(0, given_back),
            retries=sum(r.attempts - 1 for result in self._turns for r in result.phases),
        )


class _Sums:
    """What an allocator has counted in its life."""

    def __init__(self, snapshot: PoolSnapshot | None = None) -> None:
        self.states = States(**snapshot.fleet) if snapshot else States()
        self.started = self.unused = 0
        for told in (snapshot.open_offers, snapshot.ended_offers) if snapshot else ():
            for (_, state), count in told.items():
                self.started += count if state in STARTED else 0
                self.unused += count if state in GIVEN_BACK else 0


def _mean(values: list[int] | list[Micros]) -> float | None:
    return sum(values) / len(values) if values else None
