"""That every overlay keeps our own rules, and that each rule sees what breaks it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.k8s import house
from tests.k8s.manifests import (
    OVERLAYS,
    ROOT,
    Manifest,
    name,
    of_kind,
    overlay,
    pods,
    render,
    secrets,
    the_service,
)


@pytest.mark.parametrize("which", OVERLAYS)
def test_an_overlay_keeps_the_rules(which: str) -> None:
    assert house.faults(overlay(which)) == []


def test_there_are_the_overlays_that_the_documents_speak_of() -> None:
    assert OVERLAYS == ["cpu", "gpu", "gpu-autoscale"]


def test_no_two_objects_have_one_name() -> None:
    for which in OVERLAYS:
        names = [name(one) for one in overlay(which)]
        assert len(names) == len(set(names))


# --- each of these breaks one rule, and only that; the rule must say so


def _cluster(manifests: list[Manifest]) -> Any:
    return the_service(manifests)["spec"]["rayClusterConfig"]


def _head(manifests: list[Manifest]) -> Any:
    return _cluster(manifests)["headGroupSpec"]["template"]["spec"]


def _worker(manifests: list[Manifest]) -> Any:
    return _cluster(manifests)["workerGroupSpecs"][0]["template"]["spec"]


def _named(manifests: list[Manifest], kind: str, called: str) -> Any:
    (found,) = (
        one for one in of_kind(manifests, kind) if one["metadata"]["name"] == f"coordsvc-{called}"
    )
    return found


def _scrape_what_is_not_there(it: list[Manifest]) -> None:
    _named(it, "PodMonitor", "ray")["spec"]["podMetricsEndpoints"][0]["port"] = "metric"


def _keep_prometheus_out(it: list[Manifest]) -> None:
    _named(it, "NetworkPolicy", "metrics")["spec"]["ingress"][0]["ports"].pop(0)


def _open_to_anybody(it: list[Manifest]) -> None:
    del _named(it, "NetworkPolicy", "door")["spec"]["ingress"][0]["from"]


def _misspell_the_denied(it: list[Manifest]) -> None:
    selector = _named(it, "NetworkPolicy", "deny")["spec"]["podSelector"]
    selector["matchLabels"] = {"app.kubernetes.io/part-of": "coordsvcs"}


BROKEN: dict[str, tuple[Callable[[list[Manifest]], object], list[str]]] = {
    "no limit": (
        lambda it: _head(it)["containers"][0]["resources"]["limits"].pop("memory"),
        [
            "RayService/head/ray-head: memory is asked for and limited differently",
            "RayService/head/ray-head: no limits.memory",
        ],
    ),
    "no limit of the autoscaler": (
        lambda it: _cluster(it)["autoscalerOptions"]["resources"]["limits"].pop("cpu"),
        ["RayService/autoscaler: no limits.cpu"],
    ),
    "a root that can be written": (
        lambda it: _worker(it)["containers"][0]["securityContext"].update(
            readOnlyRootFilesystem=False
        ),
        ["RayService/cpu/ray-worker: securityContext is not the strict one"],
    ),
    "root": (
        lambda it: _worker(it)["securityContext"].update(runAsUser=0),
        ["RayService/cpu: may run as root"],
    ),
    "no seccomp": (
        lambda it: _worker(it)["securityContext"].pop("seccompProfile"),
        ["RayService/cpu: no seccomp profile"],
    ),
    "the host's network": (
        lambda it: _head(it).update(hostNetwork=True),
        ["RayService/head: shares the host's namespaces"],
    ),
    "service links": (
        lambda it: _head(it).pop("enableServiceLinks"),
        ["RayService/head: is told of every Service by its environment"],
    ),
    "the host's files": (
        lambda it: _head(it)["volumes"].append({"name": "etc", "hostPath": {"path": "/etc"}}),
        ["RayService/head: mounts the host's files"],
    ),
    "an account that there is not": (
        lambda it: _worker(it).update(serviceAccountName="default"),
        ["RayService/cpu: its service account is not one of"],
    ),
    "a token for a worker": (
        lambda it: _worker(it).update(automountServiceAccountToken=True),
        ["RayService/cpu: the account's token is not where it belongs"],
    ),
    "no probe": (
        lambda it: _worker(it)["containers"][0].pop("livenessProbe"),
        ["RayService/cpu/ray-worker: no livenessProbe"],
    ),
    "a probe of a port that there is not": (
        lambda it: _worker(it)["containers"][0]["readinessProbe"]["httpGet"].update(port="http"),
        ["RayService/cpu/ray-worker: readinessProbe asks port http, which it has not"],
    ),
    "latest": (
        lambda it: _head(it)["containers"][0].update(image="registry.example.com/coordsvc:latest"),
        ["RayService/head/ray-head: registry.example.com/coordsvc:latest is not pinned"],
    ),
    "a volume that there is not": (
        lambda it: _head(it)["volumes"].pop(0),
        ["RayService/head: mounts tmp, which there is not"],
    ),
    "nowhere to write": (
        lambda it: _worker(it)["containers"][0]["volumeMounts"].pop(1),
        ["RayService/cpu: Ray cannot write where it must"],
    ),
    "scratch space without limit": (
        lambda it: _worker(it)["volumes"][0].update(emptyDir={}),
        ["RayService/cpu: tmp has no limit"],
    ),
    "a secret in the environment": (
        lambda it: _head(it)["containers"][0]["env"].append(
            {"name": "RAY_AUTH_TOKEN", "value": "0123"}
        ),
        ["RayService/head/ray-head: RAY_AUTH_TOKEN is written out"],
    ),
    "a Secret": (
        lambda it: it.append({"kind": "Secret", "metadata": {**it[-1]["metadata"], "name": "x"}}),
        ["Secret/x: a Secret is made by hand, and never kept here"],
    ),
    "no label": (
        lambda it: _named(it, "StatefulSet", "redis")["metadata"].pop("labels"),
        ["StatefulSet/coordsvc-redis: does not say what it is part of"],
    ),
    "another namespace": (
        lambda it: _named(it, "StatefulSet", "redis")["metadata"].update(namespace="default"),
        ["StatefulSet/coordsvc-redis: is not in coordsvc"],
    ),
    "a Service for nobody": (
        lambda it: _named(it, "Service", "redis")["spec"].update(selector={"app": "redis"}),
        ["Service/coordsvc-redis: selects no pod"],
    ),
    "a Service to nowhere": (
        lambda it: _named(it, "Service", "redis")["spec"]["ports"][0].update(targetPort=6380),
        ["Service/coordsvc-redis: StatefulSet/coordsvc-redis has no port 6380"],
    ),
    "a scrape of nothing": (
        _scrape_what_is_not_there,
        ["PodMonitor/coordsvc-ray: no pod has a port metric"],
    ),
    "a scrape that the network stops": (
        _keep_prometheus_out,
        ["PodMonitor/coordsvc-instruments: the network keeps Prometheus from instruments"],
    ),
    "a door for anybody": (
        _open_to_anybody,
        ["NetworkPolicy/coordsvc-door: lets anybody in"],
    ),
    "a denial of nobody": (
        _misspell_the_denied,
        [
            "NetworkPolicy/coordsvc-deny: selects no pod",
            "RayService/cpu: nothing is denied to it",
            "RayService/head: nothing is denied to it",
            "StatefulSet/coordsvc-redis: nothing is denied to it",
        ],
    ),
    "a budget that cannot be kept": (
        lambda it: _named(it, "PodDisruptionBudget", "cpu-workers")["spec"].update(minAvailable=3),
        ["PodDisruptionBudget/coordsvc-cpu-workers: wants more than there need be"],
    ),
    "no budget": (
        lambda it: it.remove(_named(it, "PodDisruptionBudget", "cpu-workers")),
        ["RayService/cpu: has no disruption budget"],
    ),
    "actors on the head": (
        lambda it: _cluster(it)["headGroupSpec"]["rayStartParams"].pop("num-cpus"),
        ["RayService/head: actors may land on it"],
    ),
    "resources in two places": (
        lambda it: _cluster(it)["workerGroupSpecs"][0]["rayStartParams"].update({"num-cpus": "4"}),
        ["RayService/cpu: says its resources in two places, which KubeRay refuses"],
    ),
    "more replicas than there may be": (
        lambda it: _cluster(it)["workerGroupSpecs"][0].update(replicas=9),
        ["RayService/cpu: 9 replicas are outside their bounds"],
    ),
    "restarts in place": (
        lambda it: _worker(it).update(restartPolicy="Always"),
        ["RayService/cpu: autoscaler v2 wants restartPolicy Never"],
    ),
    "Ray for everybody": (
        lambda it: _cluster(it)["authOptions"].update(mode="disabled"),
        ["RayService: whoever reaches Ray runs code there"],
    ),
    "Redis for everybody": (
        lambda it: _cluster(it)["gcsFaultToleranceOptions"].pop("redisPassword"),
        ["RayService: the control store has no password"],
    ),
}


@pytest.mark.parametrize(("spoil", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_seen(spoil: Callable[[list[Manifest]], object], said: list[str]) -> None:
    manifests = overlay("cpu")
    spoil(manifests)
    found = house.faults(manifests)
    assert len(found) == len(said), found
    assert all(fault.startswith(start) for fault, start in zip(found, said, strict=True)), found


# --- secrets


@pytest.mark.parametrize("which", OVERLAYS)
def test_every_secret_referred_to_is_in_the_example_and_explained(
    which: str, example_secrets: list[Manifest]
) -> None:
    given = {one["metadata"]["name"]: set(one["stringData"]) for one in example_secrets}
    explained = (ROOT / "docs/deploy.md").read_text()
    for secret, key in set(secrets(overlay(which))):
        assert secret in given
        assert key is None or key in given[secret], (secret, key)
        assert f"`{secret}`" in explained
    assert {one["metadata"]["namespace"] for one in example_secrets} == {"coordsvc"}


def test_the_example_holds_no_secret(example_secrets: list[Manifest]) -> None:
    for one in example_secrets:
        assert all(value.startswith("REPLACE-WITH-") for value in one["stringData"].values())


def test_a_secret_lies_only_where_it_is_read() -> None:
    mounted = {
        pod.owner: {secret for secret, key in secrets(pod.spec["volumes"]) if key is None}
        for pod in pods(overlay("gpu"))
        if pod.ray
    }
    assert mounted == {
        "RayService/head": {"coordsvc-instruments"},
        "RayService/cpu": {"coordsvc-keys"},
        "RayService/gpu": {"coordsvc-keys"},
    }


# --- the groups of workers, written twice, are confined alike


def test_gpu_workers_are_confined_like_the_others() -> None:
    cpu, gpu = _cluster(overlay("gpu"))["workerGroupSpecs"]
    for place in ("securityContext", "serviceAccountName", "terminationGracePeriodSeconds"):
        assert gpu["template"]["spec"][place] == cpu["template"]["spec"][place]
    first, second = (group["template"]["spec"]["containers"][0] for group in (cpu, gpu))
    for place in ("image", "ports", "securityContext", "volumeMounts", *house.PROBES):
        assert first[place] == second[place], place


def test_the_optional_priority_reaches_every_pod_of_ray() -> None:
    manifests = render("tests/k8s/with-priority")
    (priority,) = of_kind(manifests, "PriorityClass")
    for spec in (_head(manifests), _worker(manifests)):
        assert spec["priorityClassName"] == priority["metadata"]["name"]
