"""The recording and alert rules: right by promtool, tested each, and with a runbook each."""

import re
import shutil
import subprocess
from collections import Counter
from typing import Any

import pytest
import yaml

from coordsvc.cli import picture, top_view
from coordsvc.telemetry.turns import COORD_BUCKETS_S, TURN_BUCKETS_S
from tests.monitoring.boards import METRIC, ROOT, RULES, alerts, records, rules

RUNBOOKS = ROOT / "docs/runbooks.md"
TESTS = sorted((RULES / "tests").glob("*.yaml"))
NO_ALERTS = {"Targets"}
"""Sections of the runbooks that are not about an alert."""
LEVEL_METRIC_OPERATION = re.compile(r"application(_[a-z]+)*:coordsvc_\w+:\w+")
APPLICATION = "cluster, namespace, application, job"


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here: apt-get install prometheus")
    return found


def run(*words: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=RULES)


# By promtool


def test_the_files_are_right(promtool: str) -> None:
    checked = run(promtool, "check", "rules", *sorted(RULES.glob("*.yaml")))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_every_rule_does_what_its_tests_say(promtool: str, path: Any) -> None:
    ran = run(promtool, "test", "rules", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_threshold_that_is_moved_is_noticed(promtool: str, tmp_path: Any) -> None:
    """Or the tests of the rules could not fail."""
    copied = tmp_path / "rules"
    shutil.copytree(RULES, copied)
    moved = copied / "coordsvc.alerts.yaml"
    moved.write_text(moved.read_text().replace("mean_5m > 0.5", "mean_5m > 0.9"))
    ran = run(promtool, "test", "rules", copied / "tests/latency.yaml")
    assert ran.returncode != 0
    assert "CoordsvcCoordinationSlow" in ran.stdout + ran.stderr


# Tests of the rules


def told(path: Any) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text())["tests"]


def test_every_alert_is_seen_to_fire_and_to_keep_quiet() -> None:
    fires, quiet = Counter[str](), Counter[str]()
    for path in TESTS:
        for test in told(path):
            for rule in test.get("alert_rule_test", []):
                (fires if rule["exp_alerts"] else quiet)[rule["alertname"]] += 1
    assert set(alerts()) == set(fires) == set(quiet)


def test_groups_are_evaluated_in_order_in_the_tests() -> None:
    """Else a recorded value may be a step late, and a test fails now and then."""
    groups = [
        group["name"]
        for path in sorted(RULES.glob("*.yaml"), reverse=True)
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    for path in TESTS:
        assert yaml.safe_load(path.read_text())["group_eval_order"] == groups


# Alerts


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_it_is_how_bad_and_what_to_do(name: str) -> None:
    alert = alerts()[name]
    assert re.fullmatch(r"Coordsvc[A-Z]\w+", name)
    assert alert["labels"]["severity"] in {"critical", "warning"}
    said = alert["annotations"]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert said["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    assert len(said["summary"]) < 100
    assert said["description"].strip().endswith((".", "{{ end }}"))
    if "absent(" not in alert["expr"]:
        assert "$labels.application" in said["summary"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    sections = set(re.findall(r"^## (.+)$", RUNBOOKS.read_text(), re.MULTILINE))
    assert sections - NO_ALERTS == set(alerts())


def test_no_runbook_is_empty() -> None:
    parts = re.split(r"^## (.+)$", RUNBOOKS.read_text(), flags=re.MULTILINE)
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        assert len(text.split()) > 25, f"{name}: what is one to do?"


# Recorded


@pytest.mark.parametrize("name", records())
def test_what_is_recorded_keeps_applications_apart(name: str) -> None:
    assert LEVEL_METRIC_OPERATION.fullmatch(name)
    for grouped in re.findall(r"\b(?:sum|max)\b *(.{0,60})", records()[name]):
        assert grouped.startswith(f"by ({APPLICATION}")


def test_alerts_rest_on_what_is_recorded() -> None:
    asked = {name for alert in alerts().values() for name in METRIC.findall(alert["expr"])}
    assert {name for name in asked if ":" in name} <= set(records())


def test_no_two_rules_have_one_name() -> None:
    names = [rule.get("record") or rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)


# Targets


def test_targets_agree_wherever_they_stand() -> None:
    """The p95 of a turn and C_coord: docs/runbooks.md#targets lists the places."""
    recorded, fires = str(records()), {name: alert["expr"] for name, alert in alerts().items()}
    late = set(re.findall(r'le="([\d.]+)"', recorded))
    assert late == {str(picture.TARGET_S)}
    assert picture.TARGET_S in TURN_BUCKETS_S
    assert fires["CoordsvcTurnsSlow"].endswith(f"> {picture.TARGET_S}")
    for name in ("CoordsvcCoordinationSlow", "CoordsvcScalingAtCeiling"):
        assert fires[name].endswith(f"mean_5m > {top_view.C_COORD_LIMIT_S}")
    assert top_view.C_COORD_LIMIT_S in COORD_BUCKETS_S


def test_burn_rates_are_the_pairs_of_the_workbook() -> None:
    fast, slow = (
        alerts()[name]["expr"]
        for name in ("CoordsvcLatencyBudgetBurnsFast", "CoordsvcLatencyBudgetBurnsSlowly")
    )
    found = re.findall(r"ratio_rate(\w+) > \(([\d.]+) \* 0\.05\)", f"{fast} {slow}")
    assert found == [
        ("1h", "14.4"), ("5m", "14.4"), ("6h", "6"), ("30m", "6"),
        ("1d", "3"), ("2h", "3"), ("3d", "1"), ("6h", "1"),
    ]  # fmt: skip
