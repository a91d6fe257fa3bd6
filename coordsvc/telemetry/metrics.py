"""The metrics that the instrumentation actor exports, each with its unit and help text.

Base units are seconds and whole resources. Labels are bounded: agents, phases, parts, states and
resources, never a turn's or a request's id.
"""

from prometheus_client import CollectorRegistry

from coordsvc.core.accounting import PhaseReport, TurnResult
from coordsvc.core.fleet import Measures
from coordsvc.core.units import Instant, Micros
from coordsvc.telemetry.collapse import CollapseMetrics
from coordsvc.telemetry.fleet import FleetMetrics
from coordsvc.telemetry.pool import PoolMetrics, PoolSnapshot
from coordsvc.telemetry.scaling import ScalingMetrics
from coordsvc.telemetry.service import ServiceMetrics
from coordsvc.telemetry.spans import SpanMetrics
from coordsvc.telemetry.turns import TurnMetrics
from coordsvc.telemetry.watch import Watch


class Metrics:
    """All metrics of one application, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.turns = TurnMetrics(self.registry)
        self.fleet = FleetMetrics(self.registry)
        self.service = ServiceMetrics(self.registry)
        self.scaling = ScalingMetrics(self.registry)
        self.spans = SpanMetrics(self.registry)
        self._pool = PoolMetrics(self.registry)
        self._collapse = CollapseMetrics(self.registry)
        self._watch = Watch()

    def watch(self, watch: Watch) -> None:
        """Watch for a collapse on other terms from now on."""
        self._watch = watch

    def turn(self, result: TurnResult, baseline_us: int = 0) -> None:
        """Count one answered turn, which takes one process at batch 1 `baseline_us`."""
        self.turns.turn(result)
        self.fleet.lately.turn(baseline_us)
        self._watch.turn(result, baseline_us)

    def late_check(self, report: PhaseReport, baseline_us: Micros) -> None:
        """Count a check that ended after its turn was counted."""
        self.turns.phase(report)
        self.fleet.lately.baseline_us += baseline_us

    def pool(self, now: Instant, snapshot: PoolSnapshot) -> Measures | None:
        """Show what the allocator last told; return what the fleet came to lately, if known."""
        if not self._pool.show(snapshot):
            return None
        if (warning := self._watch.pool(now, snapshot)) is not None:
            self._collapse.show(warning)
        return self.fleet.show(
            now,
            snapshot.epoch,
            snapshot.fleet,
            snapshot.fleet_remainder,
            snapshot.accelerators,
        )
