"""That the application in an overlay is a file of deployments/, and fits the cluster around it."""

import math
import re
from typing import Any

import pytest
import yaml

from coordsvc.settings import check
from coordsvc.settings.load import read_deployment
from tests.k8s.manifests import OVERLAYS, ROOT, Manifest, overlay, the_service

FILES = {
    "cpu": "cpu_cluster.yaml",
    "gpu": "gpu_cluster.yaml",
    "gpu-autoscale": "gpu_autoscale.yaml",
}
"""Overlay to the file that it takes."""
AGENT_CPU = 0.1
"""Cores that an agent or ingress replica asks for: coordsvc.serving.app."""
DEPLOYMENTS = ("Ingress", "Planner", "Responder", "Checker", "Engine")


def _cluster(which: str) -> Any:
    return the_service(overlay(which))["spec"]["rayClusterConfig"]


def _application(which: str) -> Any:
    (found,) = yaml.safe_load(the_service(overlay(which))["spec"]["serveConfigV2"])["applications"]
    return found


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_application_is_the_file_word_for_word(which: str) -> None:
    text = the_service(overlay(which))["spec"]["serveConfigV2"]
    assert text == (ROOT / "deployments" / FILES[which]).read_text()


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_settings_in_it_are_right(which: str) -> None:
    read_deployment(ROOT / "deployments" / FILES[which])
    check(_application(which)["args"])


@pytest.mark.parametrize("which", OVERLAYS)
def test_it_listens_where_the_cluster_looks(which: str) -> None:
    config = yaml.safe_load(the_service(overlay(which))["spec"]["serveConfigV2"])
    head = _cluster(which)["headGroupSpec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    metrics = check(_application(which)["args"]).metrics
    assert config["proxy_location"] == "EveryNode"
    assert config["http_options"] == {"host": "0.0.0.0", "port": ports["serve"]}
    assert (metrics.host, metrics.port) == ("0.0.0.0", ports["instruments"])


def test_what_is_made_for_kustomize_alone_is_not_applied() -> None:
    for which in OVERLAYS:
        assert not [
            one for one in overlay(which) if one["metadata"]["name"] == "coordsvc-deployments"
        ]


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_deployments_that_it_names_exist(which: str) -> None:
    named = [one["name"] for one in _application(which)["deployments"]]
    assert set(named) <= set(DEPLOYMENTS)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_files_that_it_names_are_mounted_where_it_runs(which: str) -> None:
    told = check(_application(which)["args"])
    assert told.keys is not None, "a door in a cluster asks for keys"
    for group in _cluster(which)["workerGroupSpecs"]:
        mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
        (keys,) = (mount["mountPath"] for mount in mounts if mount["name"] == "keys")
        assert told.keys.file == f"{keys}/keys.yaml"
    head = _cluster(which)["headGroupSpec"]["template"]["spec"]["containers"][0]
    (folder,) = (one["mountPath"] for one in head["volumeMounts"] if one["name"] == "instruments")
    assert told.metrics.key_file == f"{folder}/metrics-key"
    assert told.metrics.admin_key_file == f"{folder}/admin-key"


# --- the cluster is large enough, at its smallest and at its largest


def _resources(group: Manifest) -> dict[str, float]:
    """What a worker of a group brings: as KubeRay and Ray's autoscaler read it."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    told = {name: float(amount) for name, amount in group["resources"].items()}
    return {"CPU": float(limits["cpu"]), "GPU": float(limits.get("nvidia.com/gpu", 0)), **told}


def _engines_that_fit(group: Manifest, bundle: Manifest) -> int:
    has = _resources(group)
    return math.floor(min(has.get(name, 0.0) / amount for name, amount in bundle.items()))


def _deployment(which: str, name: str) -> Any:
    found = [one for one in _application(which)["deployments"] if one["name"] == name]
    return found[0] if found else {}


def _engines(which: str) -> tuple[int, int]:
    """Engine replicas at least and at most."""
    scaling = check(_application(which)["args"]).scaling
    if scaling is not None:
        return scaling.replicas_min, scaling.replicas_max
    fixed = _deployment(which, "Engine").get("num_replicas", 1)
    return fixed, fixed


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_engines_find_room(which: str) -> None:
    groups = _cluster(which)["workerGroupSpecs"]
    (bundle,) = _deployment(which, "Engine")["placement_group_bundles"]
    least, most = _engines(which)
    for bound, engines in (("minReplicas", least), ("maxReplicas", most)):
        room = sum(_engines_that_fit(group, bundle) * group[bound] for group in groups)
        assert room >= engines, f"{bound}: room for {room} engines of {engines}"


@pytest.mark.parametrize("which", OVERLAYS)
def test_what_an_engine_computes_with_lies_in_its_bundle(which: str) -> None:
    engine = _deployment(which, "Engine")
    (bundle,) = engine["placement_group_bundles"]
    assert engine["ray_actor_options"]["num_cpus"] <= bundle["CPU"]
    assert engine["ray_actor_options"].get("num_gpus", 0) <= bundle.get("GPU", 0)
    args = check(_application(which)["args"])
    if "bandwidth_gbps" in bundle:
        assert bundle["bandwidth_gbps"] == args.node.capacity.bandwidth_gbps
    assert bundle.get("GPU", 0) == args.node.capacity.gpu


@pytest.mark.parametrize("which", OVERLAYS)
def test_agents_and_door_find_room_beside_the_engines(which: str) -> None:
    groups = _cluster(which)["workerGroupSpecs"]
    cores = sum(_resources(group)["CPU"] * group["minReplicas"] for group in groups)
    (bundle,) = _deployment(which, "Engine")["placement_group_bundles"]
    others = [one for one in _application(which)["deployments"] if one["name"] != "Engine"]
    replicas = sum(one.get("num_replicas", 2) for one in others) + len(DEPLOYMENTS)
    assert cores >= _engines(which)[0] * bundle["CPU"] + AGENT_CPU * replicas
    workers = sum(group["minReplicas"] for group in groups)
    assert all(
        one.get("max_replicas_per_node", workers) * workers >= one.get("num_replicas", 1)
        for one in others
    )


# --- versions


def _locked(lock: str) -> dict[str, str]:
    lines = (ROOT / "docker/locks" / lock).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


@pytest.mark.parametrize("which", OVERLAYS)
def test_kuberay_is_told_the_version_of_ray_that_is_in_the_image(which: str) -> None:
    image = _cluster(which)["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    lock = re.sub(r".*/([\w-]+):.*", r"\1.txt", image)
    assert _cluster(which)["rayVersion"] == _locked(lock)["ray"]
