"""The bench of the early warning, shortened to a run of each sort."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordsvc.bench.collapse import APART, REPORTED, TUNING, Plan, _most, figures, measure, run
from coordsvc.bench.collapse_cases import Case, collapsing, stationary

SHORT = Plan(runs=3, quiet=3, windows=30, workers=1, tuning=True)
CASES = [collapsing(5, SHORT.seed)[4], stationary(3, SHORT.seed + APART, SHORT.windows)[2]]
"""Of the shortest kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Few(Plan):
    """Only these two."""

    def cases(self) -> list[Case]:
        return CASES


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("windows")


@pytest.fixture(scope="module")
def runs(kept: Path):
    return [run(case, kept) for case in CASES]


def test_the_warning_comes_before_the_collapse_and_not_without_one(runs) -> None:
    told = figures(runs)
    assert told["collapses"] == 1
    assert told["detected"] == 1.0
    assert told["median_lead_windows"] >= 3
    assert told["false_alarms"] == 0
    assert told["without_collapse"] == told["stationary_crossed"] == 0
    assert told["mechanisms"]["retries"]["signs"]["amplification"] == 1
    assert told["stationary"]["bursty"]["runs"] == 1


def test_its_rivals_are_counted_in_the_same_runs(runs) -> None:
    told = figures(runs)
    for name in ("p95_alarm", "naive"):
        assert told[name]["false_alarms_per_day"] <= 1.0
        assert 0 <= told[name]["detected"] <= 1


def test_figures_are_numbers_and_names_that_json_has(runs) -> None:
    assert "NaN" not in json.dumps(figures(runs))


def test_the_whole_measurement_says_what_it_was_taken_on_and_of(runs, kept: Path) -> None:
    said: list[str] = []
    told = measure(Few(workers=1, keep=kept), datetime(2026, 11, 23, tzinfo=UTC), said.append)
    assert {name: told[name] for name in figures(runs)} == figures(runs)
    assert told["seeds"]["collapses"] == [REPORTED, REPORTED + 199]
    assert told["machine"]["date"].startswith("2026-11-23")
    assert said == ["what the alarms said"]


def test_the_same_case_comes_to_the_same(runs) -> None:
    assert run(CASES[1], None) == runs[1]


def test_a_run_of_a_collapse_ends_when_it_has_shown(runs) -> None:
    assert runs[0].collapse is not None
    assert len(runs[0].windows) == runs[0].collapse + 7 < CASES[0].windows


def test_what_is_kept_is_not_run_again(runs, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    case = CASES[1]
    assert run(case, keep) == runs[1]
    (file,) = keep.iterdir()
    kept = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(kept[:7]), encoding="utf-8")
    assert run(case, keep).windows == runs[1].windows[:7]
    run(replace(case, settings=replace(case.settings, load=0.01)), keep)
    assert len(list(keep.iterdir())) == 2


def test_what_is_kept_is_found_again_by_another_process() -> None:
    """It once was not: the name held a function's address."""
    told = (
        "from pathlib import Path\n"
        "from coordsvc.bench.collapse import _file\n"
        "from coordsvc.bench.collapse_cases import collapsing\n"
        "print(_file(collapsing(1, 1)[0], Path('kept')).name)"
    )
    names = {
        subprocess.run([sys.executable, "-c", told], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(names) == 1


def test_seeds_that_are_reported_are_not_those_that_were_tuned_on() -> None:
    reported = {case.settings.seed for case in Plan(runs=900, quiet=900).cases()}
    tuned = {case.settings.seed for case in SHORT.cases()}
    assert min(reported) == REPORTED
    assert max(reported) < TUNING == min(tuned)


@pytest.mark.parametrize(("count", "most"), [(0, 3.0), (1, 4.74), (5, 10.51)])
def test_few_false_alarms_may_be_luck(count: int, most: float) -> None:
    """The exact upper bounds of a Poisson mean, at 95 %, one-sided."""
    assert _most(count) == pytest.approx(most, abs=0.01)
