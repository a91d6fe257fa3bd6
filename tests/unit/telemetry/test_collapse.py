"""The detector's word as metrics: what it does not know is absent, and not 0."""

from prometheus_client import CollectorRegistry

from coordsvc.core.collapse import EarlyWarning, Level
from coordsvc.core.collapse_signs import BURN, MARGIN, OFF, SIGNS, Sign
from coordsvc.core.scaling import Fit, Law
from coordsvc.core.units import SECOND, Micros
from coordsvc.telemetry.collapse import CollapseMetrics
from tests.unit.telemetry.told import value

LAW = Law(rate=2.0, sigma=0.1, kappa=0.01, best=9.5, loads=5, lowest=1.0, highest=12.0, error=0.05)


def said(level: Level, law: Law | None, crosses: Micros | None) -> EarlyWarning:
    on = {MARGIN: Sign(on=True, value=3.0, says="near"), BURN: OFF}
    signs = {name: on.get(name, OFF) for name in SIGNS}
    return EarlyWarning(
        level=level, signs=signs, time_to_cross_us=crosses, why="near", fit=Fit(law=law, says="")
    )


def test_a_warning_is_shown_with_its_signs() -> None:
    registry = CollectorRegistry()
    metrics = CollapseMetrics(registry)
    metrics.show(said(Level.WARNING, LAW, Micros(30 * SECOND)))
    assert value(registry, "coordsvc_collapse_risk") == 2
    assert value(registry, "coordsvc_collapse_sign", sign=MARGIN) == 1
    assert value(registry, "coordsvc_collapse_sign", sign=BURN) == 0
    assert value(registry, "coordsvc_collapse_time_to_cross_seconds") == 30
    assert value(registry, "coordsvc_usl_sigma") == 0.1
    assert value(registry, "coordsvc_usl_kappa") == 0.01
    assert value(registry, "coordsvc_usl_best_concurrency") == 9.5


def test_what_is_not_known_is_absent() -> None:
    registry = CollectorRegistry()
    metrics = CollapseMetrics(registry)
    metrics.show(said(Level.WARNING, LAW, Micros(30 * SECOND)))
    metrics.show(said(Level.CALM, None, None))
    assert value(registry, "coordsvc_collapse_risk") == 0
    for name in ("collapse_time_to_cross_seconds", "usl_sigma", "usl_best_concurrency"):
        assert value(registry, f"coordsvc_{name}") is None


def test_every_sign_is_there_from_the_start() -> None:
    registry = CollectorRegistry()
    CollapseMetrics(registry)
    for name in SIGNS:
        assert value(registry, "coordsvc_collapse_sign", sign=name) == 0
