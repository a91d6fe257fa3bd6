"""Studies on a real Ray, in their small form: what must hold on any machine, however slow.

The students' notebook runs `third-agent`; what must hold of it is told there.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

from coordsvc.experiments import entries
from coordsvc.experiments.entries import Entry
from coordsvc.experiments.runner import run
from coordsvc.experiments.study import Plan, Row
from tests.e2e.rows import rows_in, total

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


def ran(entry: Entry, plan: Plan, place: Path) -> dict[str, Any]:
    """Run a study in a process of its own: a process has one Ray, and a study starts one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(run, entry, plan, place, print).result()


def rows_of(name: str, place: Path, gpus: tuple[int, ...] | None = None) -> list[Row]:
    entry = entries.entry(name)
    told = ran(entry, entries.plan(entry, "test", gpus=gpus), place)
    assert told["verdict"] is not None
    assert not told["partial"]
    return rows_in(place)


def test_demands_that_leave_pieces_scale_worse_than_such_as_fit(tmp_path: Path) -> None:
    rows = rows_of("scaling", tmp_path / "run", gpus=(1,))
    assert total(rows, "lost") == 0
    fits = total(rows, "of_ideal", demands="matched") / 8
    pieces = total(rows, "of_ideal", demands="fragmenting") / 8
    assert pieces < fits < 1.1
    logs = list((tmp_path / "run" / "cells").glob("*/decisions/*.jsonl"))
    assert len(logs) == 2, "each run's offers are kept"


def test_a_planner_with_much_to_do_is_kept_from_an_idle_half_by_walls(tmp_path: Path) -> None:
    entry = entries.entry("partition-or-share")
    mixes = {"planner-heavy": entry.parameters["mixes"]["planner-heavy"]}
    plan = entries.plan(entry, "test")
    one = type(plan)(
        preset=plan.preset,
        seeds=plan.seeds,
        gpus=plan.gpus,
        engine=plan.engine,
        parameters={**plan.parameters, "mixes": mixes},
    )
    told = ran(entry, one, tmp_path / "run")
    assert not told["partial"]
    (gain,) = [one for one in told["findings"] if one["wanted"] == "above 1"]
    assert gain["value"] > 1


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_a_ladder_of_loads_has_a_row_for_each_turn_and_each_is_of_three_agents(
    tmp_path: Path,
) -> None:
    rows = rows_of("slo", tmp_path / "run")
    told = entries.plan(entries.entry("slo"), "test").parameters
    loads = [float(row["load"] or 0) for row in rows]
    assert loads == sorted(loads)
    assert set(loads) == set(told["loads"])
    assert {row["status"] for row in rows} == {200}
    assert {row["output_tokens"] for row in rows} == {12 + 24 + 4}
    for row in rows:
        wall_s, heard_s = float(row["wall_s"] or 0), float(row["client_s"] or 0)
        assert 0 < float(row["solo_s"] or 0) < wall_s < heard_s
