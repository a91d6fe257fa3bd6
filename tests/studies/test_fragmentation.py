"""The study of fragmentation, in small: what must hold whatever the machine and the seeds."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries
from coordsvc.experiments.runner import run
from coordsvc.experiments.studies.fragmentation import (
    SATURATED,
    Fragmentation,
    knee,
    pool,
    settings,
    wide_share,
)
from coordsvc.experiments.study import Plan, Row


@pytest.fixture(scope="module")
def plan() -> Plan:
    return entries.plan(entries.entry("fragmentation"), "test")


@pytest.fixture(scope="module")
def rows(plan: Plan) -> list[Row]:
    study = Fragmentation()
    return [row for cell in study.cells(plan) for row in study.run(cell, lambda _: None)]


def saturated(rows: list[Row], level: float, name: str = "of_ideal") -> list[float]:
    return [
        float(row[name] or 0) for row in rows if row["level"] == level and row["load"] == SATURATED
    ]


def test_a_whole_pool_comes_near_its_ideal_and_each_level_loses_more(rows: list[Row]) -> None:
    assert min(saturated(rows, 0.0)) > 0.95
    for less, more in ((0.3, 0.0), (0.6, 0.3), (0.8, 0.6)):
        assert max(saturated(rows, less)) < min(saturated(rows, more))


def test_no_level_does_better_than_its_bound(plan: Plan, rows: list[Row]) -> None:
    """The largest demand uses whole accelerators only; a little more is chance in a short run."""
    for level in (0.0, 0.3, 0.6, 0.8):
        bound = min(1.0, (1 - level) / wide_share(plan.parameters))
        assert max(saturated(rows, level)) <= 1.08 * bound


def test_what_is_lost_is_stranded(rows: list[Row]) -> None:
    assert max(saturated(rows, 0.0, "stranded_share")) < 0.02
    assert min(saturated(rows, 0.8, "stranded_share")) > 0.3


def test_each_run_has_its_share_in_pieces(plan: Plan) -> None:
    for level in (0.0, 0.3, 0.6, 0.8):
        plans = pool(plan.parameters, level)
        pieces = sum(one.count for one in plans if one.slots == 1)
        assert sum(one.count * one.slots for one in plans) == 40
        assert pieces == round(level * 40)


@pytest.mark.parametrize("level", [0.31, 0.01, 1.0])
def test_levels_that_no_pool_can_have_are_refused_before_anything_runs(
    plan: Plan, level: float
) -> None:
    told = Plan(
        preset=plan.preset,
        seeds=plan.seeds,
        gpus=None,
        engine=None,
        parameters={**plan.parameters, "levels": [level]},
    )
    with pytest.raises(BadRequest, match="level"):
        Fragmentation().check(told)


def test_open_load_is_a_part_of_what_the_slots_can_do(plan: Plan) -> None:
    """A draft takes two slots: the simulator's own measure of load counts it as one."""
    told = {**plan.parameters, "level": 0.0, "load": 0.5, "seed": 1}
    assert settings(told).load == pytest.approx(0.5 * 1.96 / 3.16)


def test_the_knee_of_lines_that_were_drawn_is_found() -> None:
    levels = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    drawn = {level: [min(1.0, 1.0 - 2 * (level - 0.2))] * 3 for level in levels}
    found = knee(drawn)
    assert found is not None
    assert found.value == pytest.approx(0.2, abs=0.01)
    assert knee({level: [1.0] for level in levels}) is None, "nothing falls"
    assert knee({0.0: [1.0], 0.6: [0.5]}) is None, "two levels have no bend"


def test_the_verdict_is_the_interval_s(plan: Plan, rows: list[Row], tmp_path: Path) -> None:
    conclusion = Fragmentation().conclude(plan, rows)
    assert conclusion.verdict == "confirmed"
    kinder = [{**row, "of_ideal": 0.9} if row["level"] == 0.6 else row for row in rows]
    assert Fragmentation().conclude(plan, kinder).verdict == "falsified"
    split = [
        {**row, "of_ideal": 0.7 + 0.2 * (row["seed"] == 2)} if row["level"] == 0.6 else row
        for row in rows
    ]
    assert Fragmentation().conclude(plan, split).verdict == "undecided"
    missing = [row for row in rows if row["level"] != 0.6]
    assert Fragmentation().conclude(plan, missing).verdict == "undecided"


def test_its_folder_has_all_that_a_reader_wants(plan: Plan, tmp_path: Path) -> None:
    few = Plan(
        preset=plan.preset,
        seeds=plan.seeds,
        gpus=None,
        engine=None,
        parameters={**plan.parameters, "levels": [0.0, 0.6]},
    )
    told = run(entries.entry("fragmentation"), few, tmp_path / "run", lambda _: None)
    assert told["verdict"] == "confirmed"
    names = {
        path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*")
    }
    assert names >= {
        *("settings.json", "versions.json", "rows.jsonl", "rows.parquet", "summary.json"),
        *("report.html", "README.md", "plots/of_ideal.png", "plots/of_ideal.svg"),
    }
    assert "see the study's page" not in (tmp_path / "run" / "README.md").read_text()
