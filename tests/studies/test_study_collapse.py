"""The study of collapses, in small: each detector is told the same, and a verdict is earned."""

import pytest

pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

from pyarrow import Table

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries
from coordsvc.experiments.studies.collapse import NAIVE, OURS, P95, Collapse
from coordsvc.experiments.study import Plan, Row, Verdict


@pytest.fixture(scope="module")
def plan() -> Plan:
    return entries.plan(entries.entry("collapse"), "test")


@pytest.fixture(scope="module")
def rows(plan: Plan) -> list[Row]:
    study = Collapse()
    return [row for cell in study.cells(plan) for row in study.run(cell, lambda _: None)]


def test_every_run_that_drifts_collapses_and_no_quiet_one_does(rows: list[Row]) -> None:
    for seed in (2301, 2302):
        drifting = [row for row in rows if (row["kind"], row["seed"]) == ("retries", seed)]
        assert drifting[0]["collapse"] > drifting[0]["onset"]
        quiet = [row for row in rows if (row["kind"], row["seed"]) == ("busy", seed)]
        assert len(quiet) == 30
        assert {row["collapse"] for row in quiet} == {None}


def test_the_early_warning_speaks_before_each_of_them(plan: Plan, rows: list[Row]) -> None:
    conclusion = Collapse().conclude(plan, rows)
    ours = conclusion.summary[OURS]
    assert (ours["detected"], ours["median_lead_windows"] >= 3) == (1.0, True)
    assert set(conclusion.summary) == {OURS, P95, NAIVE}
    signs = next(table for table in conclusion.tables if "sign" in table.title)
    (retries,) = signs.rows
    amplification = dict(zip(signs.columns, retries, strict=True))["amplification"]
    assert amplification.startswith("2 of 2"), "what is lost and redone shows in offers"


def test_rows_travel_through_a_file_unchanged(plan: Plan, rows: list[Row]) -> None:
    """What a table kept is what is concluded from: whole numbers, and nothings, too."""
    table = Table.from_pydict({name: [row[name] for row in rows] for name in rows[0]})
    again = Collapse().conclude(plan, table.to_pylist())
    assert again.summary == Collapse().conclude(plan, rows).summary


def test_without_a_collapse_nothing_is_decided(plan: Plan, rows: list[Row]) -> None:
    quiet = [row for row in rows if row["kind"] == "busy"]
    assert Collapse().conclude(plan, quiet).verdict is Verdict.UNDECIDED


def test_mechanisms_that_there_are_not_are_refused_before_anything_runs(plan: Plan) -> None:
    for name in ("mechanisms", "quiet"):
        told = {**plan.parameters, name: ["earthquake"]}
        wrong = Plan(preset="test", seeds=(1,), gpus=None, engine=None, parameters=told)
        with pytest.raises(BadRequest, match=f"{name}: there is no 'earthquake'"):
            Collapse().check(wrong)
