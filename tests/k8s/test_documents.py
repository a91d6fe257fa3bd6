"""That docs/deploy.md and what it speaks of agree, and that generated files are up to date."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

import coordsvc
from coordsvc.settings import check
from tests.k8s.manifests import OVERLAYS, ROOT, Manifest, of_kind, overlay, pods, the_service

DEPLOY = ROOT / "docs/deploy.md"
MONITORING = ROOT / "k8s/monitoring"
MADE_BY_KUBERAY = {"coordsvc-serve-svc", "coordsvc-head-svc", "coordsvc-gateway"}
"""Objects that carry our name, and are in no manifest of ours."""


def _lines(program: str) -> list[list[str]]:
    """Every `$ program ...` line of the page's console blocks, as words."""
    text = "\n".join(re.findall(r"```console\n(.*?)```", DEPLOY.read_text(), re.DOTALL))
    typed = [shlex.split(line[2:]) for line in text.splitlines() if line.startswith("$ ")]
    return [words for words in typed if words[0] == program]


def test_folders_and_files_in_its_commands_exist() -> None:
    told = [
        words[words.index(option) + 1]
        for words in [*_lines("kubectl"), *_lines("docker")]
        for option in ("--kustomize", "--filename", "--file")
        if option in words
    ]
    assert len(told) > 3
    assert [path for path in told if not (ROOT / path).exists()] == []


def test_objects_that_it_names_exist(example_secrets: list[Manifest]) -> None:
    there = {
        one["metadata"]["name"] for which in OVERLAYS for one in overlay(which)
    } | MADE_BY_KUBERAY
    there |= {one["metadata"]["name"] for one in example_secrets}
    named = set(re.findall(r"`(coordsvc-[\w-]+)`", DEPLOY.read_text()))
    assert {"coordsvc-serve-svc", "coordsvc-ray-token"} <= named
    assert named - there == set()


def test_ports_that_it_names_are_let_through_as_it_says() -> None:
    table = DEPLOY.read_text().split("## Who may do what")[1].split("##")[0]
    told = {
        int(number)
        for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
        for number in row.split(",")
    }
    manifests = overlay("cpu")
    assert told == {number for pod in pods(manifests) for number in pod.ports().values()}
    policed = {
        port["port"]
        for policy in of_kind(manifests, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for port in rule.get("ports", [])
    }
    assert policed <= told


def test_it_builds_the_image_that_the_overlay_runs() -> None:
    (build,) = (words for words in _lines("docker") if words[1] == "build")
    _, _, tag = build[build.index("--tag") + 1].rpartition(":")
    assert tag == coordsvc.__version__
    assert f"FROM runtime AS {build[build.index('--target') + 1]}" in (
        (ROOT / "docker/Dockerfile").read_text()
    )


def test_the_longest_turn_is_what_an_old_cluster_waits_for() -> None:
    service = the_service(overlay("cpu"))
    delay = service["spec"]["rayClusterDeletionDelaySeconds"]
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    assert delay > check(application["args"]).http.deadline_s_max
    assert f"{delay} seconds" in DEPLOY.read_text()


# --- alerts


def _alerts() -> list[str]:
    return [
        rule["alert"]
        for path in sorted((MONITORING / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def test_every_alert_has_a_first_look_and_a_runbook() -> None:
    page = DEPLOY.read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks\.md#(\w+)\) \|", page, re.MULTILINE)
    assert sorted(alert for alert, _ in rows) == sorted(_alerts())
    assert all(anchor == alert.lower() for alert, anchor in rows)


# --- what is made of other files


def test_the_prometheus_rule_is_what_the_rule_files_say() -> None:
    ran = subprocess.run(
        [sys.executable, "tools/prometheus_rule.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("which", OVERLAYS)
def test_every_rule_and_every_dashboard_reaches_the_cluster(which: str) -> None:
    manifests = overlay(which)
    (rule,) = of_kind(manifests, "PrometheusRule")
    told = [one.get("alert") for group in rule["spec"]["groups"] for one in group["rules"]]
    assert sorted(filter(None, told)) == sorted(_alerts())
    shown = {
        key: json.loads(text)
        for one in of_kind(manifests, "ConfigMap")
        if one["metadata"]["labels"].get("grafana_dashboard") == "1"
        for key, text in one["data"].items()
    }
    files = {path.name: path for path in (MONITORING / "dashboards").glob("*.json")}
    assert shown == {called: json.loads(path.read_text()) for called, path in files.items()}


def test_every_manifest_is_used() -> None:
    """A file that no kustomization names is forgotten, or should not be there."""
    kept = {"README.md", "secrets.example.yaml", "kustomization.yaml"}
    for path in sorted((ROOT / "k8s").rglob("*")):
        inside = path.relative_to(ROOT / "k8s").parts
        if not path.is_file() or path.name in kept or inside[:2] == ("monitoring", "rules"):
            continue
        folder = next(one for one in path.parents if (one / "kustomization.yaml").exists())
        listed = (folder / "kustomization.yaml").read_text()
        assert str(path.relative_to(folder)) in listed, path
