"""That what is rendered is what Kubernetes and the operators take: held against their schemas."""

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from tests.k8s import crds
from tests.k8s.manifests import OVERLAYS, Manifest, name, of_kind, overlay, render, the_service

KUBERNETES = "1.32"
"""The oldest release that these manifests are meant for: docs/deploy.md."""
CUSTOM = ("ray.io/", "monitoring.coreos.com/")


def _is_custom(manifest: Manifest) -> bool:
    return manifest["apiVersion"].startswith(CUSTOM)


@pytest.mark.parametrize("which", OVERLAYS)
def test_custom_kinds_are_what_their_definitions_say(which: str) -> None:
    custom = [one for one in overlay(which) if _is_custom(one)]
    assert {one["kind"] for one in custom} == {"RayService", "PodMonitor", "PrometheusRule"}
    assert {name(one): found for one in custom if (found := crds.faults(one))} == {}


@pytest.mark.parametrize("which", [*OVERLAYS, "../components/priority"])
def test_core_kinds_are_what_kubernetes_says(which: str) -> None:
    manifests = overlay(which) if which in OVERLAYS else _with_priority()
    core = [one for one in manifests if not _is_custom(one)]
    assert core
    for one in core:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def _with_priority() -> list[Manifest]:
    """The optional component has no overlay of its own."""
    return [
        one
        for one in render("tests/k8s/with-priority")
        if one["kind"] == "PriorityClass" or _is_custom(one)
    ]


def test_the_example_secrets_are_secrets(example_secrets: list[Manifest]) -> None:
    for one in example_secrets:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


# --- that the schemas see faults: each of these is planted, and each must be found


def _cluster(service: Manifest) -> Any:
    return service["spec"]["rayClusterConfig"]


RAY_FAULTS: dict[str, Callable[[Manifest], object]] = {
    "spec: Additional properties": lambda it: it["spec"].update(serveConfigV3="x"),
    "spec.rayClusterConfig.autoscalerOptions.version": lambda it: _cluster(it)[
        "autoscalerOptions"
    ].update(version="v3"),
    "spec.rayClusterConfig.authOptions.mode": lambda it: _cluster(it)["authOptions"].update(
        mode="password"
    ),
    "spec.rayClusterConfig.workerGroupSpecs.0: 'groupName'": lambda it: _cluster(it)[
        "workerGroupSpecs"
    ][0].pop("groupName"),
    "spec.rayClusterConfig.workerGroupSpecs.0.maxReplicas": lambda it: _cluster(it)[
        "workerGroupSpecs"
    ][0].update(maxReplicas="six"),
    "spec.rayClusterConfig.headGroupSpec.template.spec.containers.0: Additional": lambda it: (
        _cluster(it)["headGroupSpec"]["template"]["spec"]["containers"][0].update(portz=[])
    ),
    "spec.rayClusterConfig.headGroupSpec.template.spec.volumes": lambda it: _cluster(it)[
        "headGroupSpec"
    ]["template"]["spec"]["volumes"].append({"name": "tmp"}),
}


def test_every_fault_planted_in_a_ray_service_is_found() -> None:
    service = the_service(overlay("cpu"))
    for spoil in RAY_FAULTS.values():
        spoil(service)
    found = crds.faults(service)
    assert len(found) == len(RAY_FAULTS), found
    for place in RAY_FAULTS:
        assert any(fault.startswith(place) for fault in found), (place, found)


def test_every_fault_planted_in_monitors_and_rules_is_found() -> None:
    manifests = overlay("cpu")
    monitor = of_kind(manifests, "PodMonitor")[0]
    endpoint = monitor["spec"]["podMetricsEndpoints"][0]
    endpoint.update(intervall="15s", interval="soon")
    endpoint["relabelings"][0]["action"] = "rename"
    (rule,) = of_kind(manifests, "PrometheusRule")
    first = rule["spec"]["groups"][0]["rules"][0]
    del first["expr"]
    first["for"] = "ten minutes"
    assert len(crds.faults(monitor)) == 3
    assert len(crds.faults(rule)) == 2


CORE_FAULTS: dict[str, tuple[str, Callable[[Manifest], object]]] = {
    "a field that there is not": ("StatefulSet", lambda it: it["spec"].update(serviceNames="x")),
    "a word for a number": ("StatefulSet", lambda it: it["spec"].update(replicas="one")),
    "a selector of the wrong shape": (
        "NetworkPolicy",
        lambda it: it["spec"].update(podSelector=["coordsvc"]),
    ),
    "a port without its number": ("Service", lambda it: it["spec"]["ports"][0].pop("port")),
    "no selector at all": ("StatefulSet", lambda it: it["spec"].pop("selector")),
    "text where a truth belongs": (
        "ServiceAccount",
        lambda it: it.update(automountServiceAccountToken="no"),
    ),
}


@pytest.mark.parametrize(("kind", "spoil"), CORE_FAULTS.values(), ids=CORE_FAULTS.keys())
def test_every_fault_planted_in_a_core_kind_is_found(
    kind: str, spoil: Callable[[Manifest], object]
) -> None:
    manifest = of_kind(overlay("cpu"), kind)[0]
    spoil(manifest)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
