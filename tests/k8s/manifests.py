"""What the overlays of k8s/ render to, and the pods in it, wherever a kind hides them."""

import copy
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "k8s/overlays").iterdir())
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod that some object asks for."""

    owner: str
    labels: Mapping[str, str]
    spec: Manifest
    replicas_min: int
    ray: bool
    """Whether KubeRay builds it: it adds its own to what stands in the template."""

    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def ports(self) -> dict[str, int]:
        """Named ports, of all containers."""
        return {
            port["name"]: port["containerPort"]
            for container in self.containers()
            for port in container.get("ports", [])
        }


def kubectl() -> str:
    """Where kubectl is; without one, the test is skipped."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed")
    return found


@cache
def _rendered(folder: Path) -> list[Manifest]:
    ran = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return [one for one in yaml.load_all(ran.stdout, Loader=yaml.CSafeLoader) if one]


def render(folder: str) -> list[Manifest]:
    """What `kubectl kustomize` makes of a folder of the repository; fresh, to be spoilt at will."""
    return copy.deepcopy(_rendered(ROOT / folder))


def overlay(name: str) -> list[Manifest]:
    return render(f"k8s/overlays/{name}")


def name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def the_service(manifests: list[Manifest]) -> Manifest:
    (found,) = of_kind(manifests, "RayService")
    return found


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    """Every pod that the objects ask for, with the labels that it will carry."""
    for manifest in manifests:
        match manifest["kind"]:
            case "StatefulSet" | "Deployment" | "DaemonSet":
                template = manifest["spec"]["template"]
                yield Pod(
                    owner=name(manifest),
                    labels=template["metadata"]["labels"],
                    spec=template["spec"],
                    replicas_min=manifest["spec"].get("replicas", 1),
                    ray=False,
                )
            case "RayService":
                yield from _of_ray(manifest["spec"]["rayClusterConfig"])


def _of_ray(cluster: Manifest) -> Iterator[Pod]:
    yield _ray_pod(cluster["headGroupSpec"], "head", "head", 1)
    for group in cluster["workerGroupSpecs"]:
        yield _ray_pod(group, "worker", group["groupName"], group["minReplicas"])


def _ray_pod(group: Manifest, kind: str, owner: str, replicas_min: int) -> Pod:
    template = group["template"]
    return Pod(
        owner=f"RayService/{owner}",
        labels={
            **template["metadata"]["labels"],
            "ray.io/is-ray-node": "yes",  # these two come from KubeRay
            "ray.io/node-type": kind,
        },
        spec=template["spec"],
        replicas_min=replicas_min,
        ray=True,
    )


def secrets(told: object) -> Iterator[tuple[str, str | None]]:
    """Names of Secrets that something refers to, with the key where one is named."""
    if isinstance(told, list):
        for one in told:
            yield from secrets(one)
    elif isinstance(told, dict):
        for key, value in told.items():
            match key, value:
                case (("secretKeyRef" | "credentials"), {"name": str(secret), "key": str(of_it)}):
                    yield secret, of_it
                case "secretName", str(secret):
                    yield secret, None
                case _:
                    yield from secrets(value)
