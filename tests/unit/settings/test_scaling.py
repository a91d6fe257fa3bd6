"""Settings of autoscaling: bounds that agree, and one owner of the replica count."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from coordsvc.core.autoscaling import ScalingTerms
from coordsvc.core.units import seconds
from coordsvc.settings import SettingsError, check, read_deployment
from coordsvc.settings.scaling import POLICY

BOUNDS = {"replicas_min": 1, "replicas_max": 4}


def refused(**scaling: Any) -> str:
    with pytest.raises(SettingsError) as told:
        check({"scaling": scaling})
    return str(told.value)


def test_without_scaling_nothing_is_scaled() -> None:
    assert check({}).scaling is None


def test_the_terms_are_those_of_the_core_where_nothing_else_is_said() -> None:
    scaling = check({"scaling": BOUNDS}).scaling
    assert scaling is not None
    assert scaling.terms() == ScalingTerms()
    changed = check({"scaling": {**BOUNDS, "c_coord_s": 1.5, "dry_run": True}}).scaling
    assert changed is not None
    assert changed.terms().threshold_us == seconds(1.5)
    assert changed.terms().dry_run


def test_missing_bounds_are_told_one_by_one() -> None:
    assert refused() == (
        "args.scaling.replicas_min: is missing\nargs.scaling.replicas_max: is missing"
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"replicas_min": 5}, "args.scaling: replicas_min (5) is above replicas_max (4)"),
        ({"replicas_min": 0}, "args.scaling.replicas_min: 0 is not right"),
        ({"replicas_max": 2.5}, "args.scaling.replicas_max: 2.5 is not right"),
        ({"window_s": 3.0}, "args.scaling: window_s (3.0) is less than two reports"),
        ({"stale_s": 3.0}, "args.scaling: stale_s (3.0) is less than two reports"),
        ({"utilisation_max": 1.0}, "args.scaling.utilisation_max: 1.0 is not right"),
        ({"margin": float("nan")}, "args.scaling.margin: nan is not right"),
        ({"replica_max": 4}, "there is no such setting; did you mean `replicas_max`?"),
    ],
)
def test_what_does_not_agree_is_refused(wrong: dict[str, Any], says: str) -> None:
    assert says in refused(**{**BOUNDS, **wrong})


# The whole file


def file(
    tmp_path: Path, scaling: dict[str, Any] | None, *deployments: dict[str, Any], **more: Any
) -> Path:
    application = {
        "name": "coordsvc",
        "import_path": "coordsvc.serving.app:build",
        "args": {} if scaling is None else {"scaling": scaling},
        "deployments": list(deployments),
        **more,
    }
    path = tmp_path / "app.yaml"
    path.write_text(yaml.safe_dump({"applications": [application]}))
    return path


OURS = {"autoscaling_policy": {"policy_function": POLICY}}


def test_a_file_with_one_owner_of_the_replica_count_is_right(tmp_path: Path) -> None:
    engine = {"name": "Engine", "placement_group_bundles": [{"GPU": 1}]}
    planner = {"name": "Planner", "num_replicas": 3}
    read_deployment(file(tmp_path, BOUNDS, engine, planner, **OURS))
    read_deployment(file(tmp_path, None, {"name": "Engine", "num_replicas": 2}))
    read_deployment(file(tmp_path, None, {"name": "Engine"}, external_scaler_enabled=True))


@pytest.mark.parametrize(
    ("scaling", "deployment", "more", "says"),
    [
        (None, {}, OURS, ".autoscaling_policy: is set, but args.scaling is not; set args.scaling"),
        (BOUNDS, {}, {}, ".autoscaling_policy: is missing, and args.scaling is set; `policy_f"),
        (
            BOUNDS,
            {},
            {"autoscaling_policy": {"policy_function": "other:policy"}},
            ".autoscaling_policy.policy_function: 'other:policy' is not right with args.scaling; ",
        ),
        (
            BOUNDS,
            {},
            {"autoscaling_policy": POLICY},
            ".autoscaling_policy: a mapping is right: `policy_function: coordsvc.serving.autosc",
        ),
        (
            BOUNDS,
            {},
            {"autoscaling_policy": {"policy_function": POLICY, "policy_kwargs": {"window_s": 9}}},
            ".autoscaling_policy.policy_kwargs: write them in args.scaling",
        ),
        (
            BOUNDS,
            {},
            {**OURS, "external_scaler_enabled": True},
            ".external_scaler_enabled: two would own the replica count; remove it, or args.scaling",
        ),
        (
            BOUNDS,
            {"name": "Engine", "num_replicas": 2},
            OURS,
            ".deployments[0].num_replicas: args.scaling is set, and says how many: replicas_min",
        ),
        (
            BOUNDS,
            {"name": "Ingress", "num_replicas": 2},
            OURS,
            ".deployments[0].num_replicas: args.scaling is set, and says how many: ingress_repl",
        ),
        (
            BOUNDS,
            {"name": "Engine", "autoscaling_config": {"max_replicas": 9}},
            OURS,
            ".deployments[0].autoscaling_config: args.scaling is set, and the only policy; args.sc",
        ),
        (
            BOUNDS,
            {"name": "Planner", "autoscaling_config": {"max_replicas": 9}},
            OURS,
            ".deployments[0].autoscaling_config: args.scaling is set, and the only policy; num_re",
        ),
        (
            BOUNDS,
            {"name": "Planner", "num_replicas": "auto"},
            OURS,
            ".deployments[0].num_replicas: args.scaling is set, and the only policy; a number is",
        ),
    ],
)
def test_a_second_owner_is_refused_with_what_would_be_right(
    tmp_path: Path,
    scaling: dict[str, Any] | None,
    deployment: dict[str, Any],
    more: dict[str, Any],
    says: str,
) -> None:
    deployments = (deployment,) if deployment else ()
    with pytest.raises(SettingsError) as told:
        read_deployment(file(tmp_path, scaling, *deployments, **more))
    assert f"applications[0]{says}" in str(told.value)


def test_deployments_that_are_none_are_serves_to_refuse(tmp_path: Path) -> None:
    read_deployment(file(tmp_path, BOUNDS, **{**OURS, "deployments": 7}))
    read_deployment(file(tmp_path, BOUNDS, **{**OURS, "deployments": ["Engine"]}))
