"""A run goes cell by cell, and whatever ends it, what was measured is there and told."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

from coordsvc.core.errors import BadRequest, CoordinationError, NodeGone
from coordsvc.experiments.folder import RunFolder
from coordsvc.experiments.runner import run
from coordsvc.experiments.study import Say
from tests.unit.experiments.tiny import Alike, Empty, Fails, FailsTwice, Tiny, plan, tiny


class Run:
    """A run of a tiny study into a folder, and what it said."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.said: list[str] = []

    def __call__(self, study: type[Tiny] = Tiny, say: Say | None = None, **other: Any) -> dict:
        self.said.clear()
        resume = other.pop("resume", False)
        told = plan(tiny(study), **other)
        return run(tiny(study), told, self.place, say or self.said.append, resume=resume)

    def read(self, name: str) -> Any:
        return json.loads((self.place / name).read_text())

    @property
    def measured(self) -> list[str]:
        return [line.removeprefix("measured ") for line in self.said if "measured" in line]


@pytest.fixture
def a_run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def test_a_whole_run_has_all_that_a_reader_wants(a_run: Run) -> None:
    told = a_run()
    assert (told["verdict"], told["partial"], told["ended_early"]) == ("confirmed", False, None)
    assert a_run.said[:2] == ["1 of 3: seed 1", "measured seed 1"]
    assert a_run.measured == ["seed 1", "seed 2", "seed 3"]
    assert a_run.read("summary.json") == json.loads(json.dumps(told))
    assert {path.name for path in a_run.place.iterdir()} == {
        *("settings.json", "versions.json", "rows.jsonl", "rows.parquet", "summary.json"),
        *("report.html", "README.md", "plots"),
    }
    readme = (a_run.place / "README.md").read_text()
    assert "- `took_s`: mean time of a turn, seconds" in readme
    assert "- `late`: see the study's page" in readme, "the catalogue says nothing of it"


def test_an_error_leaves_a_partial_report_and_is_the_one_raised(a_run: Run) -> None:
    with pytest.raises(NodeGone, match="engine 3 has died"):
        a_run(Fails)
    told = a_run.read("summary.json")
    assert (told["partial"], told["cells_done"], told["cells"]) == (True, 1, 3)
    assert told["ended_early"] == "NodeGone: engine 3 has died"
    assert told["verdict"] == "confirmed", "of what there is"
    report = (a_run.place / "report.html").read_text()
    assert "partial: 1 of 3 cells" in report
    assert "NodeGone: engine 3 has died" in report


def test_the_first_error_is_raised_though_there_can_be_no_report(a_run: Run) -> None:
    with pytest.raises(NodeGone, match="engine 3 has died"):
        a_run(FailsTwice)
    why = "ZeroDivisionError: no rows of seed 2"
    assert a_run.said[-1] == f"and there is no report of what was measured: {why}"
    assert list(RunFolder(a_run.place).measured()) == ["seed 1"]


def test_somebody_who_presses_ctrl_c_has_a_report_too(a_run: Run) -> None:
    def tired(line: str) -> None:
        if line.startswith("3 of 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_run(say=tired)
    told = a_run.read("summary.json")
    assert (told["partial"], told["cells_done"]) == (True, 2)
    assert told["ended_early"] == "KeyboardInterrupt"


def test_nothing_measured_is_told_as_nothing(a_run: Run) -> None:
    told = a_run(Empty)
    assert (told["verdict"], told["says"]) == (None, "nothing was measured")
    assert not (a_run.place / "rows.parquet").exists()


def test_resuming_measures_what_is_missing_and_ends_as_if_nothing_had_happened(
    a_run: Run, tmp_path: Path
) -> None:
    with pytest.raises(NodeGone):
        a_run(Fails)
    told = a_run(resume=True)
    assert a_run.measured == ["seed 2", "seed 3"]
    undisturbed = Run(tmp_path / "undisturbed")
    assert undisturbed() == told
    for name in ("rows.jsonl", "rows.parquet", "summary.json", "settings.json"):
        assert (undisturbed.place / name).read_bytes() == (a_run.place / name).read_bytes()
    assert "(partial" not in (a_run.place / "report.html").read_text()


def test_a_whole_run_is_only_reported_again(a_run: Run) -> None:
    a_run()
    (a_run.place / "report.html").unlink()
    a_run(resume=True)
    assert a_run.said == [f"the report is {a_run.place / 'report.html'}"]
    assert (a_run.place / "report.html").exists()


def test_rows_stand_in_the_plan_s_order_in_whichever_order_they_were_measured(a_run: Run) -> None:
    a_run(seeds=(1, 2))
    rows = a_run.place / "rows.jsonl"
    rows.write_text("".join(reversed(rows.read_text().splitlines(keepends=True))))
    before = (a_run.place / "rows.parquet").read_bytes()
    a_run(seeds=(1, 2), resume=True)
    assert (a_run.place / "rows.parquet").read_bytes() == before


def test_what_cannot_be_measured_is_refused_before_anything_is_written(a_run: Run) -> None:
    entry = tiny(parameters={"turns": 0}, presets={"test": {}})
    with pytest.raises(BadRequest, match="0 turns; at least 1 is right"):
        run(entry, plan(entry), a_run.place, a_run.said.append)
    with pytest.raises(AssertionError, match="its own"):
        a_run(Alike)
    assert not a_run.place.exists()


@pytest.mark.parametrize("library", ["jinja2", "matplotlib", "pyarrow"])
def test_a_missing_library_is_told_before_hours_of_measuring(
    a_run: Run, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BadRequest, match=rf"need {library}: pip install 'coordsvc\[experiments\]'"):
        a_run()
    assert not a_run.place.exists()


def test_a_full_disk_ends_a_run_in_words_and_with_room_it_goes_on(a_run: Run) -> None:
    rows, kept = a_run.place / "rows.jsonl", a_run.place / "kept"

    def fill(line: str) -> None:
        if line.startswith("2 of 3"):
            rows.rename(kept)
            rows.symlink_to("/dev/full")

    with pytest.raises(CoordinationError, match=r"No space left on device.*go on with --resume"):
        a_run(say=fill)
    assert a_run.read("summary.json")["cells_done"] == 1
    kept.rename(rows)
    assert a_run(resume=True)["partial"] is False
    assert a_run.measured == ["seed 2", "seed 3"]


def test_a_disk_that_is_full_at_the_report_is_told_in_words_too(a_run: Run) -> None:
    def fill(line: str) -> None:
        if line.startswith("3 of 3"):
            (a_run.place / ".report.html.draft").symlink_to("/dev/full")

    why = r"report cannot be written \(No space left on device\).*with --resume"
    with pytest.raises(CoordinationError, match=why):
        a_run(say=fill)
    (a_run.place / ".report.html.draft").unlink()
    a_run(resume=True)
    assert (a_run.place / "report.html").exists()
