"""Metrics of autoscaling: what is decided about the number of engine replicas, and why."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from coordsvc.core.autoscaling import Direction, Reason
from coordsvc.telemetry.labels import Maybe, Told


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingTold:
    """What the policy tells of one decision."""

    direction: Direction
    reason: Reason
    wanted: int
    least: int
    most: int
    c_coord_s: float | None = None


class ScalingMetrics:
    """Shows the last decision, and counts all; absent where nothing is scaled."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._wanted = Maybe(
            registry,
            "coordsvc_scaling_wanted",
            "Engine replicas that autoscaling wants, before its bounds and a dry run.",
        )
        self._bound = Told(
            registry,
            "coordsvc_scaling_bound",
            "Engine replicas at least (min) and at most (max), by bound.",
            ["bound"],
        )
        self._decisions = Counter(
            "coordsvc_scaling_decisions",
            "Decisions about the number of engine replicas, some one a second, by direction (out, "
            "in, hold) and reason.",
            ["direction", "reason"],
            registry=registry,
        )
        self._c_coord = Maybe(
            registry,
            "coordsvc_scaling_c_coord_seconds",
            "Mean C_coord of a turn over the window that autoscaling looks at, in seconds; absent "
            "while no turn ends.",
        )

    def decided(self, told: ScalingTold) -> None:
        """Show one decision."""
        self._wanted.set(told.wanted)
        self._bound.show([(("min",), told.least), (("max",), told.most)])
        self._decisions.labels(told.direction, told.reason).inc()
        self._c_coord.set(told.c_coord_s)
