"""Metrics of autoscaling."""

from prometheus_client import CollectorRegistry

from coordsvc.core.autoscaling import Direction, Reason
from coordsvc.telemetry.scaling import ScalingMetrics, ScalingTold
from tests.unit.telemetry.told import value


def told(direction: Direction, reason: Reason, c_coord_s: float | None = None) -> ScalingTold:
    return ScalingTold(
        direction=direction, reason=reason, wanted=3, least=1, most=4, c_coord_s=c_coord_s
    )


def test_decisions_are_counted_by_reason_and_the_last_is_shown() -> None:
    registry = CollectorRegistry()
    metrics = ScalingMetrics(registry)
    metrics.decided(told(Direction.HOLD, Reason.SUSTAINING, 0.7))
    metrics.decided(told(Direction.HOLD, Reason.SUSTAINING, 0.8))
    metrics.decided(told(Direction.OUT, Reason.C_COORD, 0.9))
    name = "coordsvc_scaling_decisions_total"
    assert value(registry, name, direction="hold", reason="sustaining") == 2
    assert value(registry, name, direction="out", reason="c_coord") == 1
    assert value(registry, "coordsvc_scaling_wanted") == 3
    assert value(registry, "coordsvc_scaling_bound", bound="min") == 1
    assert value(registry, "coordsvc_scaling_bound", bound="max") == 4
    assert value(registry, "coordsvc_scaling_c_coord_seconds") == 0.9


def test_without_turns_there_is_no_c_coord_and_without_scaling_nothing_at_all() -> None:
    registry = CollectorRegistry()
    metrics = ScalingMetrics(registry)
    assert registry.get_sample_value("coordsvc_scaling_wanted") is None
    assert registry.get_sample_value("coordsvc_scaling_bound", {"bound": "max"}) is None
    metrics.decided(told(Direction.OUT, Reason.C_COORD, 0.9))
    metrics.decided(told(Direction.IN, Reason.IDLE))
    assert registry.get_sample_value("coordsvc_scaling_c_coord_seconds") is None
    metrics.decided(told(Direction.HOLD, Reason.STEADY, float("nan")))
    assert registry.get_sample_value("coordsvc_scaling_c_coord_seconds") is None
