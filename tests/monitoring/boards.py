"""The checked-in dashboards and rules, as tests look at them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "k8s/monitoring"
RULES = MONITORING / "rules"
DASHBOARDS = MONITORING / "dashboards"
METRIC = re.compile(r"\b(?:[a-z_]+:)?coordsvc_\w+(?::\w+)?")
"""A metric of ours, recorded ones included, wherever it stands in an expression."""
SELECTOR = re.compile(r"(?P<metric>[a-z_:0-9]+)\{(?P<matchers>[^}]*)\}")
EVERYTHING = {
    "cluster": ".*",
    "namespace": ".*",
    "application": ".*",
    "job": ".+",
    "agent": ".*",
    "__rate_interval": "1m",
    "__interval": "1m",
    "__range": "1h",
}
"""Grafana's variables with all of them chosen; the last three are durations of its own."""


@dataclass(frozen=True)
class Asked:
    """An expression, and where it stands."""

    where: str
    expr: str


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Every panel that shows something, those inside rows included."""
    inside = [panel for row in board["panels"] for panel in row.get("panels", [])]
    return [panel for panel in [*board["panels"], *inside] if panel["type"] != "row"]


def targets() -> Iterator[Asked]:
    """Every expression of every panel."""
    for board in dashboards():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Asked(panel["title"], target["expr"])


def marks() -> Iterator[Asked]:
    """Every expression of every annotation."""
    for board in dashboards():
        for mark in board["annotations"]["list"]:
            yield Asked(mark["name"], mark["expr"])


def chosen(expr: str, **choices: str) -> str:
    """The expression with its variables filled in, as Grafana does."""
    for name, value in sorted({**EVERYTHING, **choices}.items(), key=lambda item: -len(item[0])):
        expr = expr.replace(f"${name}", value)
    assert "$" not in expr, f"a variable that does not exist: {expr}"
    return expr


def rules() -> list[dict[str, Any]]:
    """Every rule, recording and alerting."""
    return [
        rule
        for path in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def records() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def selectors(expr: str) -> list[str]:
    """Every selector of ours in an expression, with its matchers if it has any."""
    return [
        expr[found.start() : (braces.end() if braces else found.end())]
        for found in METRIC.finditer(expr)
        for braces in [re.compile(r"\{[^}]*\}").match(expr, found.end())]
    ]
