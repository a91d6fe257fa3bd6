"""Our own rules for manifests: what the schemas allow, and we do not.

Each rule yields a line for each fault; `faults` asks them all.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.k8s.manifests import Manifest, Pod, name, of_kind, pods, secrets, the_service

PART_OF = {"app.kubernetes.io/part-of": "coordsvc"}
PINNED = re.compile(
    r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+:v?\d+\.\d+\.\d+(-[\w.]+)?(@sha256:\w{64})?$"
)
"""Registry, path, and a tag with all of a version; a digest is welcome."""
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
SECRETIVE = re.compile(r"TOKEN|PASSWORD|SECRET|AUTH|_KEY$")
RAY_PORTS = {52365}
"""Ray's node agent: it has a port without our asking."""


def faults(manifests: list[Manifest]) -> list[str]:
    """Everything that our rules say against what an overlay renders to."""
    return sorted(fault for rule in RULES for fault in rule(manifests))


def _containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every container, and the autoscaler that KubeRay builds of its options."""
    for pod in pods(manifests):
        for container in pod.containers():
            yield f"{pod.owner}/{container['name']}", container
    for service in of_kind(manifests, "RayService"):
        yield "RayService/autoscaler", service["spec"]["rayClusterConfig"]["autoscalerOptions"]


def limits(manifests: list[Manifest]) -> Iterator[str]:
    """Each container says what it needs and what it may have; memory may not be promised twice."""
    for where, container in _containers(manifests):
        asked = container.get("resources", {})
        for kind in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                if resource not in asked.get(kind, {}):
                    yield f"{where}: no {kind}.{resource}"
        if asked.get("requests", {}).get("memory") != asked.get("limits", {}).get("memory"):
            yield f"{where}: memory is asked for and limited differently"


def confinement(manifests: list[Manifest]) -> Iterator[str]:
    """Nobody is root, nobody can become it, nobody writes but where a volume is."""
    for where, container in _containers(manifests):
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if container.get("securityContext") != wanted:
            yield f"{where}: securityContext is not the strict one"
    for pod in pods(manifests):
        context = pod.spec.get("securityContext", {})
        if not (context.get("runAsNonRoot") and context.get("runAsUser", 0) > 0):
            yield f"{pod.owner}: may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod.owner}: no seccomp profile"
        if pod.spec.get("enableServiceLinks", True):
            yield f"{pod.owner}: is told of every Service by its environment"
        if {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys():
            yield f"{pod.owner}: shares the host's namespaces"
        if any("hostPath" in volume for volume in pod.spec.get("volumes", [])):
            yield f"{pod.owner}: mounts the host's files"


def accounts(manifests: list[Manifest]) -> Iterator[str]:
    """Each pod runs under an account of ours; only the autoscaler's has a token."""
    known = {one["metadata"]["name"] for one in of_kind(manifests, "ServiceAccount")}
    for pod in pods(manifests):
        if pod.spec.get("serviceAccountName") not in known:
            yield f"{pod.owner}: its service account is not one of {sorted(known)}"
        if pod.spec.get("automountServiceAccountToken") is not (pod.owner == "RayService/head"):
            yield f"{pod.owner}: the account's token is not where it belongs"
    if of_kind(manifests, "RoleBinding") or of_kind(manifests, "ClusterRoleBinding"):
        yield "rights are given: KubeRay gives the only one that is needed"


def probes(manifests: list[Manifest]) -> Iterator[str]:
    """Each container can be asked whether it started, is ready, lives; on a port that it has."""
    for pod in pods(manifests):
        for container in pod.containers():
            where = f"{pod.owner}/{container['name']}"
            numbers = {port["containerPort"] for port in container.get("ports", [])} | RAY_PORTS
            for kind in PROBES:
                probe = container.get(kind)
                if probe is None:
                    yield f"{where}: no {kind}"
                elif (port := probe.get("httpGet", {}).get("port")) is not None:
                    known = numbers if isinstance(port, int) else pod.ports()
                    if port not in known:
                        yield f"{where}: {kind} asks port {port}, which it has not"


def images(manifests: list[Manifest]) -> Iterator[str]:
    """Each image is named whole, with a version that does not move."""
    for where, container in _containers(manifests):
        image = container.get("image")
        if image is not None and not PINNED.match(image):
            yield f"{where}: {image} is not pinned"


def volumes(manifests: list[Manifest]) -> Iterator[str]:
    """What is mounted is there; scratch space has a limit; Ray can write where it must."""
    for pod in pods(manifests):
        there = {volume["name"] for volume in pod.spec.get("volumes", [])}
        there |= _claims(manifests, pod)
        for container in pod.containers():
            mounts = container.get("volumeMounts", [])
            for mount in mounts:
                if mount["name"] not in there:
                    yield f"{pod.owner}: mounts {mount['name']}, which there is not"
            writable = {one["mountPath"] for one in mounts if not one.get("readOnly", False)}
            if pod.ray and not {"/tmp", "/tmp/ray", "/dev/shm", "/home/ray/.cache"} <= writable:
                yield f"{pod.owner}: Ray cannot write where it must"
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pod.owner}: {volume['name']} has no limit"


def _claims(manifests: list[Manifest], pod: Pod) -> set[str]:
    return {
        claim["metadata"]["name"]
        for one in of_kind(manifests, "StatefulSet")
        if name(one) == pod.owner
        for claim in one["spec"].get("volumeClaimTemplates", [])
    }


def secrecy(manifests: list[Manifest]) -> Iterator[str]:
    """No secret stands in a manifest: neither as an object, nor as a value in an environment."""
    for secret in of_kind(manifests, "Secret"):
        yield f"{name(secret)}: a Secret is made by hand, and never kept here"
    for where, container in _containers(manifests):
        for variable in container.get("env", []):
            if SECRETIVE.search(variable["name"]) and "value" in variable:
                yield f"{where}: {variable['name']} is written out"


def labels(manifests: list[Manifest]) -> Iterator[str]:
    """Everything says what it is part of, and pods also which part."""
    for one in manifests:
        if one["kind"] in {"Namespace", "ServiceAccount"}:
            continue
        if not PART_OF.items() <= one["metadata"].get("labels", {}).items():
            yield f"{name(one)}: does not say what it is part of"
    for pod in pods(manifests):
        if not PART_OF.items() <= pod.labels.items():
            yield f"{pod.owner}: does not say what it is part of"
        if "app.kubernetes.io/component" not in pod.labels:
            yield f"{pod.owner}: does not say which part it is"


def namespaces(manifests: list[Manifest]) -> Iterator[str]:
    """Everything lies in the one namespace, whose pods may not be root."""
    (home,) = of_kind(manifests, "Namespace")
    for one in manifests:
        cluster_wide = one["kind"] in {"Namespace", "PriorityClass"}
        if not cluster_wide and one["metadata"].get("namespace") != home["metadata"]["name"]:
            yield f"{name(one)}: is not in {home['metadata']['name']}"
    if home["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield f"{name(home)}: lets pods run as root"


def _selected(manifests: list[Manifest], selector: Manifest) -> list[Pod]:
    wanted = selector.get("matchLabels", {}).items()
    return [pod for pod in pods(manifests) if wanted <= pod.labels.items()]


def services(manifests: list[Manifest]) -> Iterator[str]:
    """Each Service finds pods, and its ports are theirs."""
    for service in of_kind(manifests, "Service"):
        found = _selected(manifests, {"matchLabels": service["spec"]["selector"]})
        if not found:
            yield f"{name(service)}: selects no pod"
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in found:
                if target not in {*pod.ports(), *pod.ports().values()}:
                    yield f"{name(service)}: {pod.owner} has no port {target}"


def monitors(manifests: list[Manifest]) -> Iterator[str]:
    """Each port that is scraped is a selected pod's, and the network lets Prometheus through."""
    for monitor in of_kind(manifests, "PodMonitor"):
        found = _selected(manifests, monitor["spec"]["selector"])
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            numbers = {pod.ports().get(endpoint["port"]) for pod in found} - {None}
            if not numbers:
                yield f"{name(monitor)}: no pod has a port {endpoint['port']}"
            if not numbers <= _let_in(manifests, "monitoring"):
                yield f"{name(monitor)}: the network keeps Prometheus from {endpoint['port']}"


def _let_in(manifests: list[Manifest], namespace: str) -> set[Any]:
    """Ports that a namespace's pods may reach."""
    return {
        port["port"]
        for policy in of_kind(manifests, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for source in rule.get("from", [])
        if source.get("namespaceSelector", {}).get("matchLabels", {}).get(NAMESPACE) == namespace
        for port in rule.get("ports", [])
    }


NAMESPACE = "kubernetes.io/metadata.name"


def policies(manifests: list[Manifest]) -> Iterator[str]:
    """Each policy is about pods that there are, and ports that they have; one denies all to all."""
    denied: set[str] = set()
    for policy in of_kind(manifests, "NetworkPolicy"):
        spec = policy["spec"]
        found = _selected(manifests, spec["podSelector"])
        if not found:
            yield f"{name(policy)}: selects no pod"
        if set(spec["policyTypes"]) == {"Ingress", "Egress"} and not {"ingress", "egress"} & set(
            spec
        ):
            denied |= {pod.owner for pod in found}
        known = {number for pod in found for number in pod.ports().values()}
        for rule in spec.get("ingress", []):
            if not rule.get("from"):
                yield f"{name(policy)}: lets anybody in"
            yield from (
                f"{name(policy)}: no pod has a port {port['port']}"
                for port in rule.get("ports", [])
                if port["port"] not in known
            )
    yield from (
        f"{pod.owner}: nothing is denied to it"
        for pod in pods(manifests)
        if pod.owner not in denied
    )


def budgets(manifests: list[Manifest]) -> Iterator[str]:
    """Each budget is about one kind of pod, and can be kept; each group of workers has one."""
    kept: set[str] = set()
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        found = _selected(manifests, budget["spec"]["selector"])
        kept |= {pod.owner for pod in found}
        if len(found) != 1:
            yield f"{name(budget)}: selects {len(found)} kinds of pods"
        if "maxUnavailable" in budget["spec"]:
            yield f"{name(budget)}: Kubernetes cannot count a RayCluster's replicas"
        elif any(budget["spec"]["minAvailable"] > pod.replicas_min for pod in found):
            yield f"{name(budget)}: wants more than there need be"
    for pod in pods(manifests):
        if pod.labels.get("ray.io/node-type") == "worker" and pod.owner not in kept:
            yield f"{pod.owner}: has no disruption budget"


def groups(manifests: list[Manifest]) -> Iterator[str]:
    """What KubeRay and the autoscaler ask of a cluster, beyond the schema."""
    cluster = the_service(manifests)["spec"]["rayClusterConfig"]
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield "RayService/head: actors may land on it"
    for group in cluster["workerGroupSpecs"]:
        where = f"RayService/{group['groupName']}"
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"{where}: {group['replicas']} replicas are outside their bounds"
        if "bandwidth_gbps" not in group.get("resources", {}):
            yield f"{where}: declares no bandwidth"
        if {"num-cpus", "num-gpus", "memory", "resources"} & group["rayStartParams"].keys():
            yield f"{where}: says its resources in two places, which KubeRay refuses"
    for pod in pods(manifests):
        if pod.ray and pod.spec.get("restartPolicy") != "Never":
            yield f"{pod.owner}: autoscaler v2 wants restartPolicy Never"
        if pod.ray and len(pod.owner) + len(pod.spec["containers"][0]["name"]) > 63:
            yield f"{pod.owner}: its name is too long"
    if cluster["authOptions"]["mode"] != "token":
        yield "RayService: whoever reaches Ray runs code there"
    if not any(of_it == "password" for _, of_it in secrets(cluster["gcsFaultToleranceOptions"])):
        yield "RayService: the control store has no password"


RULES: tuple[Callable[[list[Manifest]], Iterator[str]], ...] = (
    limits,
    confinement,
    accounts,
    probes,
    images,
    volumes,
    secrecy,
    labels,
    namespaces,
    services,
    monitors,
    policies,
    budgets,
    groups,
)
