"""Settings of autoscaling: when engine replicas are added and taken away, and within what bounds.

The replica count has one owner. With `scaling` set it is our policy, named in the application's
`autoscaling_policy`; whatever else in the file would set it is refused.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from coordsvc.core.autoscaling import ScalingTerms
from coordsvc.core.units import seconds
from coordsvc.settings.node import Node

POLICY = "coordsvc.serving.autoscaling:ScalingPolicy"
"""What an application's `autoscaling_policy.policy_function` names."""
OURS = ("Engine", "Ingress")
"""Deployments of which `scaling` says how many replicas there are."""


class ScalingSettings(Node):
    """Autoscaling of engine replicas, each a placement group of its own."""

    replicas_min: int = Field(ge=1, le=10_000)
    """Engine replicas at least. Without a default: it is what the service costs when idle."""
    replicas_max: int = Field(ge=1, le=10_000)
    """Engine replicas at most. Without a default: it is what the service may cost."""
    ingress_replicas: int = Field(default=1, ge=1, le=1_000)
    """Ingress replicas. Said here, since Serve hears only deployments that it may scale."""
    c_coord_s: float = Field(default=0.5, ge=0.001, le=600)
    """Seconds of C_coord of a turn, on average over the window, above which engines are added."""
    capacity_share_min: float = Field(default=0.5, ge=0, lt=1)
    """Of C_coord, what must be offer_wait, engine_queue and contention: more engines cure nothing
    else."""
    window_s: float = Field(default=30.0, ge=1, le=86_400)
    """Seconds over which means are taken; some dozens of turns even of a quiet service."""
    sustain_out_s: float = Field(default=15.0, ge=0, le=86_400)
    """Seconds that C_coord must stay above the threshold, beside the window: a burst passes."""
    sustain_in_s: float = Field(default=120.0, ge=0, le=86_400)
    """Seconds that an engine must stay to spare: a pause between two bursts is no reason."""
    cool_out_s: float = Field(default=30.0, ge=0, le=86_400)
    """Seconds after the pool changed before engines are added: turns that waited must end first."""
    cool_in_s: float = Field(default=120.0, ge=0, le=86_400)
    """Seconds after the pool changed before one is taken away; loading a model costs minutes."""
    margin: float = Field(default=0.3, ge=0, lt=1)
    """How far below the threshold C_coord must be foreseen, with fewer engines: the dead band."""
    utilisation_max: float = Field(default=0.7, gt=0, lt=1)
    """How much of the engines that are left may be taken; waiting grows steeply above it."""
    step_out_max: int = Field(default=2, ge=1, le=1_000)
    """Engines added at once, at most."""
    step_in_max: int = Field(default=1, ge=1, le=1_000)
    """Engines taken away at once, at most; what is foreseen is surest for one."""
    report_s: float = Field(default=2.0, ge=0.5, le=60)
    """Seconds between two reports of a replica to Serve's controller; each costs it a call."""
    stale_s: float = Field(default=15.0, ge=2, le=3_600)
    """Seconds after which a report that did not change is none; some of them may be late."""
    dry_run: bool = False
    """Whether decisions are only logged and counted."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.replicas_min > self.replicas_max:
            raise ValueError(
                f"replicas_min ({self.replicas_min}) is above replicas_max ({self.replicas_max})"
            )
        if self.window_s < 2 * self.report_s:
            raise ValueError(
                f"window_s ({self.window_s}) is less than two reports (report_s is {self.report_s})"
            )
        if self.stale_s < 2 * self.report_s:
            raise ValueError(
                f"stale_s ({self.stale_s}) is less than two reports (report_s is {self.report_s})"
            )
        return self

    def terms(self) -> ScalingTerms:
        """Return the same for the core."""
        return ScalingTerms(
            threshold_us=seconds(self.c_coord_s),
            capacity_share_min=self.capacity_share_min,
            window_us=seconds(self.window_s),
            sustain_out_us=seconds(self.sustain_out_s),
            sustain_in_us=seconds(self.sustain_in_s),
            cool_out_us=seconds(self.cool_out_s),
            cool_in_us=seconds(self.cool_in_s),
            margin=self.margin,
            utilisation_max=self.utilisation_max,
            step_out_max=self.step_out_max,
            step_in_max=self.step_in_max,
            stale_us=seconds(self.stale_s),
            dry_run=self.dry_run,
        )


def conflicts(
    application: Mapping[str, Any], scaling: ScalingSettings | None, where: str
) -> Iterable[str]:
    """Yield what in an application of a Serve config file says otherwise who scales it."""
    policy = application.get("autoscaling_policy")
    if scaling is None:
        if policy is not None:
            yield (
                f"{where}.autoscaling_policy: is set, but args.scaling is not; "
                "set args.scaling with replicas_min and replicas_max, or remove the policy"
            )
        return
    named = policy.get("policy_function") if isinstance(policy, dict) else None
    if policy is None:
        yield (
            f"{where}.autoscaling_policy: is missing, and args.scaling is set; "
            f"`policy_function: {POLICY}` is right"
        )
    elif not isinstance(policy, dict):
        yield f"{where}.autoscaling_policy: a mapping is right: `policy_function: {POLICY}`"
    elif named != POLICY:
        yield (
            f"{where}.autoscaling_policy.policy_function: {named!r} is not right with "
            f"args.scaling; {POLICY} is"
        )
    elif policy.get("policy_kwargs"):
        yield f"{where}.autoscaling_policy.policy_kwargs: write them in args.scaling"
    if application.get("external_scaler_enabled"):
        yield (
            f"{where}.external_scaler_enabled: two would own the replica count; "
            "remove it, or args.scaling"
        )
    deployments = application.get("deployments")
    for position, one in enumerate(deployments if isinstance(deployments, list) else ()):
        if isinstance(one, dict):
            yield from _of_deployment(one, f"{where}.deployments[{position}]")


def _of_deployment(deployment: Mapping[str, Any], where: str) -> Iterable[str]:
    name, count = deployment.get("name"), deployment.get("num_replicas")
    field = "ingress_replicas" if name == "Ingress" else "replicas_min and replicas_max"
    if deployment.get("autoscaling_config") is not None:
        remedy = f"args.scaling says how many: {field}" if name in OURS else "num_replicas is right"
        yield f"{where}.autoscaling_config: args.scaling is set, and the only policy; {remedy}"
    if name in OURS and count is not None:
        yield f"{where}.num_replicas: args.scaling is set, and says how many: {field}"
    elif count == "auto":
        yield f"{where}.num_replicas: args.scaling is set, and the only policy; a number is right"
