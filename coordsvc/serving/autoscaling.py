"""The application-level autoscaling policy, as Serve's controller calls it.

A Serve config file names it, `autoscaling_policy: {policy_function:
coordsvc.serving.autoscaling:ScalingPolicy}`, and its terms are in `args.scaling`. They travel with
the engine's own autoscaling config, as the arguments of a policy that does nothing: so one place
says them, and where the file does not name our policy nothing is scaled, instead of by Serve's.

Serve pickles this module by value, into its controller: state is in instances, and little is here.
What is decided, and why, is in `core.autoscaling`.
"""

import logging
import warnings
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from coordsvc.clock import MonotonicClock
from coordsvc.core.autoscaling import Decision, Observation, Reason, ScalingState, decide
from coordsvc.core.scaling_report import Report
from coordsvc.core.units import SECOND, Instant, Micros, since
from coordsvc.serving.instruments_line import InstrumentsLine
from coordsvc.serving.ray_pool import instruments_name
from coordsvc.settings.scaling import ScalingSettings
from coordsvc.telemetry.scaling import ScalingTold

log = logging.getLogger("ray.serve")  # the controller's own, which is where its log is read

TERMS_IN = "coordsvc.serving.autoscaling:Unscaled"
"""The policy that does nothing, and carries the terms."""
DECIDE_US = SECOND
"""Serve asks ten times a second; reports come every few seconds."""
SAY_AGAIN_US = Micros(60 * SECOND)
"""How often a reason that goes on is logged."""
REPORTS_KEPT = 2.5
"""Reports that Serve keeps of each replica; only the last is looked at."""

Contexts = Mapping[Any, AutoscalingContext]


class ScalingPolicy:
    """Scales the engine; what else the application has stays as it is."""

    def __init__(self, **kwargs: Any) -> None:
        self._clock = MonotonicClock()
        self._state: ScalingState | None = None
        self._asked: Instant | None = None
        self._said: tuple[Reason, int, Instant] | None = None
        self._line: InstrumentsLine | None = None
        if kwargs:
            log.error("autoscaling_policy.policy_kwargs are not read: write them in args.scaling")

    def __call__(self, contexts: Contexts) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        """Return how many engine replicas there should be, if that is to change."""
        now = self._clock.now()
        if self._asked is not None and since(self._asked, now) < DECIDE_US:
            return {}, {}
        self._asked = now
        for deployment, context in contexts.items():
            if (settings := settings_in(context)) is not None:
                return {deployment: self._decide(now, settings, deployment, contexts)}, {}
        return {}, {}

    def _decide(
        self, now: Instant, settings: ScalingSettings, engine: Any, contexts: Contexts
    ) -> int:
        pool = observed(engine, contexts)
        decision, self._state = decide(settings.terms(), self._state, now, pool)
        self._say(now, decision)
        self._tell(contexts[engine].app_name, decision, pool)
        return decision.replicas

    def _say(self, now: Instant, decision: Decision) -> None:
        """Log a decision that is new, or an old one once a minute."""
        if self._said is not None:
            reason, replicas, at = self._said
            again = since(at, now) >= SAY_AGAIN_US
            if (decision.reason, decision.replicas) == (reason, replicas) and not again:
                return
        self._said = decision.reason, decision.replicas, now
        log.info("engines: %s (%s): %s", decision.direction, decision.reason, decision.says)

    def _tell(self, app: str | None, decision: Decision, pool: Observation) -> None:
        """Have it shown; while the instruments are away it is lost."""
        if self._line is None:
            self._line = InstrumentsLine(instruments_name(app or ""))
        mean = decision.c_coord_us
        self._line.scaling(
            ScalingTold(
                direction=decision.direction,
                reason=decision.reason,
                wanted=decision.wanted,
                least=pool.least,
                most=pool.most,
                c_coord_s=None if mean is None else mean / SECOND,
            )
        )


class Unscaled:
    """Leaves the engine as it is: `args.scaling` is set, and the file names no policy of ours."""

    def __init__(self, **kwargs: Any) -> None:
        self.settings = ScalingSettings(**kwargs)
        self._clock = MonotonicClock()
        self._said: Instant | None = None

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Return the number that there is."""
        now = self._clock.now()
        if self._said is None or since(self._said, now) >= SAY_AGAIN_US:
            self._said = now
            log.error(
                "%s is not scaled: args.scaling is set, but the application has no "
                "autoscaling_policy; `policy_function: coordsvc.serving.autoscaling:ScalingPolicy` "
                "is right",
                context.deployment_name,
            )
        return context.target_num_replicas, {}


def settings_in(context: AutoscalingContext) -> ScalingSettings | None:
    """Return the terms that a deployment carries, if it is the engine."""
    policy = context.config.policy if context.config is not None else None
    if policy is None or policy.policy_function != TERMS_IN or not policy.policy_kwargs:
        return None
    return ScalingSettings(**policy.policy_kwargs)


def observed(engine: Any, contexts: Contexts) -> Observation:
    """Return what Serve knows of the application, without Serve's own kinds of things."""
    context = contexts[engine]
    others = (one for deployment, one in contexts.items() if deployment != engine)
    return Observation(
        running=context.current_num_replicas,
        target=context.target_num_replicas,
        least=context.capacity_adjusted_min_replicas,
        most=context.capacity_adjusted_max_replicas,
        ingresses={replica: report for one in others for replica, report in _reports(one).items()},
        engines=_reports(context),
    )


def engine_config(settings: ScalingSettings) -> AutoscalingConfig:
    """Return the engine's autoscaling config: the bounds, no delays of Serve's, our terms."""
    kwargs = settings.model_dump(mode="json")
    policy = AutoscalingPolicy.model_validate(
        {"policy_function": TERMS_IN, "policy_kwargs": kwargs}
    )
    return _config(settings, settings.replicas_min, settings.replicas_max, policy=policy)


def ingress_config(settings: ScalingSettings) -> AutoscalingConfig:
    """Return the ingress's: a fixed number, and reports as often as the engine's."""
    return _config(settings, settings.ingress_replicas, settings.ingress_replicas)


def _config(settings: ScalingSettings, least: int, most: int, **more: Any) -> AutoscalingConfig:
    with warnings.catch_warnings():
        # the environment variables that are to replace it are not read by Serve 2.60
        warnings.filterwarnings("ignore", "The `metrics_interval_s` field", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=least,
            max_replicas=most,
            upscale_delay_s=0,
            downscale_delay_s=0,
            metrics_interval_s=settings.report_s,
            look_back_period_s=REPORTS_KEPT * settings.report_s,
            **more,
        )


def _reports(context: AutoscalingContext) -> dict[str, Report]:
    """Return the latest report of each replica that runs."""
    reports: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for name, by_replica in (context.raw_metrics or {}).items():
        for replica, series in by_replica.items():
            if series:
                reports[replica.unique_id][name] = series[-1].value
    return dict(reports.items())
