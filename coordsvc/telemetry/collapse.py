"""Metrics of the scaling law, and of the warning that coordination is about to collapse."""

from prometheus_client import CollectorRegistry, Gauge

from coordsvc.core.collapse import EarlyWarning
from coordsvc.core.collapse_signs import SIGNS
from coordsvc.core.units import SECOND
from coordsvc.telemetry.labels import Maybe


class CollapseMetrics:
    """Shows what the detector last said."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._risk = Gauge(
            "coordsvc_collapse_risk",
            "How near it is that C_coord crosses its bound and stays there: 0 calm, 1 watch, "
            "2 warning.",
            registry=registry,
        )
        self._sign = Gauge(
            "coordsvc_collapse_sign",
            "Signs of collapse, 1 for each that is there: margin, marginal, change, burn, "
            "amplification, restless.",
            ["sign"],
            registry=registry,
        )
        self._crosses = Maybe(
            registry,
            "coordsvc_collapse_time_to_cross_seconds",
            "Until C_coord is at its bound if it goes on like this, in seconds; absent where it is "
            "not on its way.",
        )
        self._sigma = Maybe(
            registry,
            "coordsvc_usl_sigma",
            "Contention of the fitted Universal Scalability Law: what turns wait for in line.",
        )
        self._kappa = Maybe(
            registry,
            "coordsvc_usl_kappa",
            "Coherency of the fitted Universal Scalability Law: what each turn costs every other.",
        )
        self._best = Maybe(
            registry,
            "coordsvc_usl_best_concurrency",
            "Turns under way beyond which one more makes all slower than it adds; absent where "
            "no such number was seen.",
        )
        for name in SIGNS:
            self._sign.labels(name)

    def show(self, warning: EarlyWarning) -> None:
        """Show the last window's verdict."""
        self._risk.set(warning.level)
        for name, sign in warning.signs.items():
            self._sign.labels(name).set(sign.on)
        crosses = warning.time_to_cross_us
        self._crosses.set(None if crosses is None else crosses / SECOND)
        law = warning.fit.law
        self._sigma.set(law.sigma if law else None)
        self._kappa.set(law.kappa if law else None)
        self._best.set(law.best if law else None)
