"""The metrics that the instrumentation actor exports, each with its unit and help text.

Base units are seconds and whole resources. Labels are bounded: agents, phases, parts, states and
resources, never a turn's or a request's id.
"""

from prometheus_client import CollectorRegistry

from coordsvc.core.accounting import TurnResult
from coordsvc.core.fleet import Measures
from coordsvc.core.units import Instant
from coordsvc.telemetry.fleet import FleetMetrics
from coordsvc.telemetry.pool import PoolMetrics, PoolSnapshot
from coordsvc.telemetry.service import ServiceMetrics
from coordsvc.telemetry.turns import TurnMetrics


class Metrics:
    """All metrics of one application, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.turns = TurnMetrics(self.registry)
        self.fleet = FleetMetrics(self.registry)
        self.service = ServiceMetrics(self.registry)
        self._pool = PoolMetrics(self.registry)

    def turn(self, result: TurnResult, baseline_us: int = 0) -> None:
        """Count one answered turn, which takes one process at batch 1 `baseline_us`."""
        self.turns.turn(result)
        self.fleet.lately.turn(baseline_us)

    def pool(self, now: Instant, snapshot: PoolSnapshot) -> Measures | None:
        """Show what the allocator last told; return what the fleet came to lately, if known."""
        if not self._pool.show(snapshot):
            return None
        return self.fleet.show(
            now,
            snapshot.epoch,
            snapshot.fleet,
            snapshot.fleet_remainder,
            snapshot.accelerators,
        )
