"""The instrumentation actor: every metric of one application on one fixed, named port.

Replicas and the allocator tell it what happened, in batches and without waiting for an answer;
when it is away they go on, and what they would have told is lost, no more.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from prometheus_client import make_wsgi_app

from coordsvc.core.accounting import PhaseReport, TurnResult
from coordsvc.core.baseline import Baseline, baseline_us
from coordsvc.core.collapse import DetectorTerms
from coordsvc.core.errors import CoordinationError
from coordsvc.core.units import Micros
from coordsvc.ports import Clock
from coordsvc.serving.admin import Admin, Operations
from coordsvc.serving.instruments_port import Gatekeeper, InstrumentsPort, PortApp
from coordsvc.telemetry.metrics import Metrics
from coordsvc.telemetry.pool import PoolSnapshot
from coordsvc.telemetry.scaling import ScalingTold
from coordsvc.telemetry.service import Running
from coordsvc.telemetry.watch import Watch

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""How often Serve and Ray are asked: a call that costs them milliseconds, on the head node."""


class Instruments:
    """Holds the metrics and serves their port. A plain class; made an actor where it is started."""

    def __init__(
        self,
        host: str,
        port: int,
        clock: Clock,
        reach: Callable[[], Operations],
        key_files: tuple[str | None, str | None] = (None, None),
    ) -> None:
        """Open the port; `reach` returns the way to the pool, or raises `CoordinationError`.

        `key_files`: of `/metrics`, where None leaves it open, and of `/admin`, where it closes it.
        """
        self._metrics = Metrics()
        self._clock = clock
        self._baseline: Baseline | None = None
        self._watched: tuple[DetectorTerms, Micros] | None = None
        self._gate = Gatekeeper(lambda reason: self._metrics.turns.refused({reason: 1}))
        self._gate.ask_for(*key_files)
        page = make_wsgi_app(self._metrics.registry)
        self._port = InstrumentsPort(host, port, PortApp(page, Admin(reach), self._gate))

    async def port(self) -> int:
        """Return the number of the port."""
        return self._port.number

    async def ask_for(self, key_file: str | None, admin_key_file: str | None) -> None:
        """Take the keys of the port from these files from now on."""
        self._gate.ask_for(key_file, admin_key_file)

    def close(self) -> None:
        """Serve the port no longer."""
        self._port.close()

    async def turns(
        self,
        results: tuple[TurnResult, ...],
        outcomes: tuple[str, ...],
        untold: int = 0,
        late_checks: tuple[tuple[PhaseReport, ...], ...] = (),
    ) -> None:
        """Count turns: those answered, how others ended, and how many nobody will tell of.

        `late_checks`: all phases of a turn that was counted before its last one, a check, ended.
        """
        for result in results:
            self._metrics.turn(result, baseline_us(result.phases, self._baseline))
        for phases in late_checks:
            before = baseline_us(phases[:-1], self._baseline)
            whole = baseline_us(phases, self._baseline)
            self._metrics.late_check(phases[-1], Micros(whole - before))
        for outcome in outcomes:
            self._metrics.turns.outcome(outcome)
        self._metrics.turns.untold(untold)

    async def compare_with(self, baseline: Baseline | None) -> None:
        """Take what S_measured compares with from now on."""
        self._baseline = baseline
        measured = baseline is not None and not baseline.emulated
        self._metrics.fleet.calibrated(yes=measured)

    async def watch_for(self, terms: DetectorTerms, window_us: Micros) -> None:
        """Warn of a collapse on these terms, by windows so long, from now on.

        What is said already is said again by each engine replica that starts; it changes nothing.
        """
        if (terms, window_us) != self._watched:
            self._watched = terms, window_us
            self._metrics.watch(Watch(terms, window_us))

    async def pool(self, snapshot: PoolSnapshot) -> None:
        """Show what the allocator told of itself."""
        self._metrics.pool(self._clock.now(), snapshot)

    async def spans_dropped(self, count: int) -> None:
        """Count spans that no collector got."""
        self._metrics.spans.dropped(count)

    async def refused(self, reasons: Mapping[str, int]) -> None:
        """Count requests that a door did not let in, by reason."""
        self._metrics.turns.refused(reasons)

    async def scaling(self, told: ScalingTold) -> None:
        """Show what was decided about the number of engine replicas."""
        self._metrics.scaling.decided(told)

    async def keep_asking(self, look: Callable[[], Running]) -> None:
        """Show regularly how many replicas and placement groups there are; `look` may block."""
        while True:
            try:
                self._metrics.service.running(await asyncio.to_thread(look))
            except CoordinationError as error:
                log.warning("replicas and placement groups cannot be counted: %s", error)
            await asyncio.sleep(LOOK_S)
