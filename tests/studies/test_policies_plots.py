"""Tables and plots of what was measured."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coordsvc.bench import policies
from coordsvc.bench.policies_plots import cell, matrix_lines, write
from coordsvc.core.errors import BadRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_cell_is_a_mean_and_half_its_interval() -> None:
    assert cell({"mean": 1234.5, "low": 1200.0, "high": 1269.0}) == "1234 ±34.5"
    assert cell({"mean": 0.98765, "low": None, "high": None}) == "0.988"
    assert cell(None) == "-"


def test_a_figure_that_no_policy_has_is_no_column() -> None:
    one = {"mean": 2.0, "low": None, "high": None}
    row: dict[str, Any] = dict.fromkeys(
        ("turns_per_s", "p50_ms", "p95_ms", "p99_ms", "in_time", "fairness", "of_ideal"), one
    )
    lines = list(matrix_lines({"poisson": {"slack": row | {"worst_slowdown": None}}}))
    assert lines[2:] == [
        "Means over the seeds, and behind ± half of their 95 % interval.",
        "",
        "## poisson",
        "",
        "| policy | turns/s | p50 ms | p95 ms | p99 ms | in time | Jain | of ideal |",
        "|---|---|---|---|---|---|---|---|",
        "| `slack` | 2 | 2 | 2 | 2 | 2 | 2 | 2 |",
    ]


def test_plots_are_written_and_are_the_same_for_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plan = replace(policies.QUICK, only=("deadlines",), plots=tmp_path)
    policies.measure(plan, NOW, lambda _: None)
    first = (tmp_path / "deadlines.svg").read_bytes()
    policies.measure(plan, NOW, lambda _: None)
    assert (tmp_path / "deadlines.svg").read_bytes() == first


def test_without_the_extra_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadRequest, match="plots"):
        write(tmp_path, {})
