"""Metrics of the service around turns and pool: replicas, placement groups, the instruments."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge

from coordsvc.telemetry.labels import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What there is of an application."""

    replicas: Mapping[str, int] = field(default_factory=dict)
    """That run, by deployment."""
    groups: Mapping[str, int] = field(default_factory=dict)
    """The engines' placement groups, by state."""


class ServiceMetrics:
    """Shows what Serve and Ray tell of the application."""

    def __init__(self, registry: CollectorRegistry) -> None:
        started = Gauge(
            "coordsvc_instruments_start_time_seconds",
            "When these metrics began to be counted, in seconds of Unix time: a gap ends here.",
            registry=registry,
        )
        started.set(time.time())
        self._replicas = Told(
            registry, "coordsvc_replicas", "Replicas that run, by deployment.", ["deployment"]
        )
        self._groups = Told(
            registry,
            "coordsvc_placement_groups",
            "Placement groups of the engines' replicas, by state: created, or pending for want of "
            "a node.",
            ["state"],
        )
        self.running(Running(groups={"created": 0, "pending": 0}))

    def running(self, running: Running) -> None:
        """Show what there is now."""
        self._replicas.show(((name,), count) for name, count in running.replicas.items())
        self._groups.show(((state,), count) for state, count in running.groups.items())
