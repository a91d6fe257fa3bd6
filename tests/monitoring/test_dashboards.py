"""The rules of Grafana's dashboard-linter, on the checked-in dashboards, and a few of our own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordsvc.telemetry.metrics import Metrics
from coordsvc.telemetry.turns import COORD_BUCKETS_S, TURN_BUCKETS_S
from tests.monitoring.boards import (
    DASHBOARDS,
    METRIC,
    ROOT,
    SELECTOR,
    Asked,
    alerts,
    chosen,
    dashboards,
    marks,
    panels,
    records,
    selectors,
    targets,
)

BOARDS = {board["uid"]: board for board in dashboards()}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
FILTERS = ("cluster", "namespace", "application", "job")
UNITS = {"s", "none", "percentunit", "reqps", "ops", "cps"}
"""Of Grafana's units, those that we have a use for."""
GROUPED = re.compile(r"\b(?:sum|max|min|avg|count) (?P<by>by \([^)]*\))?")
RANGED = re.compile(r"(?P<function>\w+)\([^()\[\]]*\[(?P<lasts>[^\]]*)\]")
SERIES = {"counter": ("total",), "gauge": (), "histogram": ("bucket", "sum", "count")}
RATES = ("rate", "irate", "increase")


@pytest.fixture(params=BOARDS.values(), ids=BOARDS.keys())
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in board["templating"]["list"]}


def every_target() -> list[Any]:
    return [pytest.param(one, id=f"{one.where}-{n}") for n, one in enumerate(targets())]


# As code


def test_they_are_what_the_code_makes() -> None:
    ran = subprocess.run(
        [sys.executable, "tools/grafana.py", "--check"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_there_is_one_and_it_is_small_enough_for_a_config_map() -> None:
    assert "coordsvc-overview" in BOARDS
    for path in DASHBOARDS.glob("*.json"):
        assert path.stat().st_size < 900_000, "a ConfigMap holds one MiB"


# template-datasource-rule


def test_the_data_source_is_a_variable(board: dict[str, Any]) -> None:
    (source,) = [one for one in board["templating"]["list"] if one["type"] == "datasource"]
    assert source["name"] == "datasource"
    assert source["label"] == "Data source"
    assert source["query"] == "prometheus"


# template-job-rule, template-on-time-change-reload-rule; ours: the other variables alike


def test_every_label_that_is_filtered_by_is_a_variable(board: dict[str, Any]) -> None:
    found = variables(board)
    for name in (*FILTERS, "agent"):
        one = found[name]
        assert one["type"] == "query"
        assert one["label"] == name.title()
        assert one["datasource"] == SOURCE
        assert one["multi"] is True
        assert one["includeAll"] is True
        assert one["refresh"] == 2, "on a change of the time range"


def test_all_of_them_includes_series_without_the_label(board: dict[str, Any]) -> None:
    """A job is always there, and the linter wants `.+`; the others come from scraping, or not."""
    found = variables(board)
    assert {name: found[name]["allValue"] for name in (*FILTERS, "agent")} == {
        "cluster": ".*",
        "namespace": ".*",
        "application": ".*",
        "agent": ".*",
        "job": ".+",
    }


# template-instance-rule, target-instance-rule: not obeyed. One process speaks for an application,
# under one instance at a time; after a restart it is another pod with another instance, and a
# dashboard that told them apart would break every line in two.


def test_nothing_tells_instances_apart(board: dict[str, Any]) -> None:
    assert "instance" not in variables(board)
    assert not [one for one in targets() if "instance=" in one.expr]


# template-label-promql-rule


def test_variables_ask_for_the_values_of_a_label(board: dict[str, Any]) -> None:
    for name in (*FILTERS, "agent"):
        query = variables(board)[name]["query"]
        asked = re.fullmatch(r"label_values\((?P<selector>[a-z_]+\{.*\}), (?P<label>\w+)\)", query)
        assert asked is not None, query
        assert asked["label"] == name


# panel-datasource-rule, panel-title-description-rule, panel-units-rule, panel-no-targets-rule


def test_every_panel_has_what_a_reader_needs(board: dict[str, Any]) -> None:
    for panel in panels(board):
        title = panel["title"]
        assert panel["datasource"] == SOURCE, title
        assert len(panel["description"]) > 20, title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        assert panel["fieldConfig"]["defaults"]["noValue"], (
            f"{title}: what does an empty panel say?"
        )
        assert panel["targets"], title
        assert all(target["datasource"] == SOURCE for target in panel["targets"]), title
        assert all(target["legendFormat"] for target in panel["targets"]), title


def test_titles_and_ids_are_told_apart(board: dict[str, Any]) -> None:
    shown = panels(board)
    assert len({panel["title"] for panel in shown}) == len(shown)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_two_panels_lie_on_each_other(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


# uneditable-dashboard-rule


def test_nobody_edits_it_in_grafana(board: dict[str, Any]) -> None:
    assert board["editable"] is False


# target-promql-rule


def test_every_expression_is_promql(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: apt-get install prometheus")
    asked = [*targets(), *marks()]
    checked = [
        {"record": f"panel:number_{n}:value", "expr": chosen(one.expr)}
        for n, one in enumerate(asked)
    ]
    rules = tmp_path / "panels.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": checked}]}))
    ran = subprocess.run(
        [promtool, "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


# target-job-rule; ours: cluster, namespace and application alike (nothing is added up unasked)


@pytest.mark.parametrize("target", every_target())
def test_every_selector_is_filtered(target: Asked) -> None:
    assert len(METRIC.findall(target.expr)) == len(SELECTOR.findall(target.expr))
    for selector in SELECTOR.finditer(target.expr):
        for label in FILTERS:
            assert f'{label}=~"${label}"' in selector["matchers"]


@pytest.mark.parametrize("target", every_target())
def test_clusters_namespaces_and_applications_are_never_added_up(target: Asked) -> None:
    grouped = list(GROUPED.finditer(target.expr))
    assert grouped
    for one in grouped:
        assert (one["by"] or "").startswith("by (cluster, namespace, application")


# target-rate-interval-rule, target-counter-agg-rule


@pytest.mark.parametrize("target", every_target())
def test_rates_are_over_grafanas_interval_and_counters_are_rates(target: Asked) -> None:
    ranged = list(RANGED.finditer(target.expr))
    for one in ranged:
        if one["function"] in {"rate", "irate"}:
            assert one["lasts"] == "$__rate_interval"
    counters = [s for s in selectors(target.expr) if re.match(r"\w+_(total|bucket|count|sum)\b", s)]
    in_rates = [one for one in ranged if one["function"] in RATES]
    assert len(counters) == len(in_rates)


# target-histogram-rule


@pytest.mark.parametrize("target", every_target())
def test_buckets_are_read_as_quantiles(target: Asked) -> None:
    if "_bucket" in target.expr:
        assert target.expr.startswith("histogram_quantile(")
        assert re.search(r"by \([^)]*\ble\)", target.expr)


# Ours


def test_thresholds_are_edges_of_the_histograms_and_drawn(board: dict[str, Any]) -> None:
    steps = {
        panel["title"]: [
            step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        ]
        for panel in panels(board)
    }
    assert steps["Time of a turn"][-1] == steps["p95 of turns"][-1] == 0.25
    assert steps["C_coord of a turn over time"][-1] == steps["C_coord of a turn"][-1] == 0.5
    assert 0.25 in TURN_BUCKETS_S
    assert 0.5 in COORD_BUCKETS_S


def test_recorded_metrics_that_panels_ask_for_are_recorded() -> None:
    asked = {name for one in targets() for name in METRIC.findall(one.expr) if ":" in name}
    assert asked
    assert asked <= set(records())


def exported() -> dict[str, set[str]]:
    """Every metric that the service exports, and the names of its series."""
    return {
        family.name: {family.name, *(f"{family.name}_{end}" for end in SERIES[family.type])}
        for family in Metrics().registry.collect()
    }


def asked() -> set[str]:
    """Every metric that panels, marks and rules ask for."""
    said = [one.expr for one in (*targets(), *marks())]
    said += [*records().values(), *(alert["expr"] for alert in alerts().values())]
    return {name for expr in said for name in METRIC.findall(expr) if ":" not in name}


def test_every_metric_that_is_exported_is_shown() -> None:
    assert [name for name, series in exported().items() if not series & asked()] == []


def test_every_metric_that_is_asked_for_is_exported() -> None:
    assert asked() <= set().union(*exported().values())


def test_every_panel_of_the_issue_is_there(board: dict[str, Any]) -> None:
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows == [
        "Is all well?",
        "C_coord: where a turn's time goes",
        "Offers",
        "alloc_i, demand and u_i",
        "S_measured: what the accelerators do",
        "Scaling law and early warning",
        "Placement groups, replicas and autoscaling",
        "Health of the allocator",
        "Doors and tenants",
    ]


def test_a_dashboard_is_plain_json_without_a_secret_or_an_address(board: dict[str, Any]) -> None:
    text = json.dumps(board)
    assert "http://" not in text
    assert "password" not in text.lower()
