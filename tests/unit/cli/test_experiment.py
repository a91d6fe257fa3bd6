"""`coordsvc experiment`, run as it is typed, with a catalogue of its own."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

from coordsvc.cli.experiment import experiment
from coordsvc.core.errors import BadRequest, CoordinationError, NodeGone
from coordsvc.experiments import entries
from tests.unit.experiments.tiny import Fails, FailsTwice, Prints, Tiny, catalogue

app = typer.Typer()
app.command()(experiment)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(entries, "FOLDER", str(catalogue(tmp_path / "catalogue")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def studies(monkeypatch: pytest.MonkeyPatch, **named: type[Tiny]) -> None:
    monkeypatch.setattr(entries, "FOLDER", str(catalogue(Path("other").resolve(), **named)))


def run(*options: str):
    return CliRunner().invoke(app, options)


def told(*options: str) -> dict:
    done = run(*options, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_one_json_object_says_what_came_of_it_and_where(here: Path) -> None:
    said = told("tiny", "--preset", "test", "--out", "run")
    assert (said["study"], said["verdict"], said["partial"]) == ("tiny", "confirmed", False)
    assert said["folder"] == "run"
    assert (here / "run" / "report.html").exists()


def test_people_hear_each_cell_the_report_s_place_and_the_verdict() -> None:
    done = run("tiny", "--preset", "test", "--out", "run")
    assert done.exit_code == 0
    assert done.stdout == ""
    for line in ("into run", "1 of 3: seed 1", "the report is run/report.html", "confirmed: Turns"):
        assert line in done.stderr


def test_what_a_study_starts_may_print_and_json_is_still_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studies(monkeypatch, tiny=Prints)
    assert told("tiny", "--preset", "test")["verdict"] == "confirmed"


def test_without_out_each_run_has_a_folder_of_its_own(here: Path) -> None:
    folder = Path(told("tiny", "--preset", "test")["folder"])
    assert folder.parent.name == "experiments"
    assert folder.name.startswith("tiny-20")
    assert (here / folder / "summary.json").exists()


def test_options_reach_the_run(here: Path) -> None:
    told("tiny", "--preset", "full", "--seeds", "4-5,9", "--out", "run")
    settings = json.loads((here / "run" / "settings.json").read_text())
    assert (settings["preset"], settings["seeds"]) == ("full", [4, 5, 9])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("tinny",), "no study 'tinny'; did you mean tiny"),
        (("tiny",), "no preset 'laptop'; there are full, test"),
        (("tiny", "--preset", "test", "--seeds", "1,2,1"), "seed 1 is named twice"),
        (("tiny", "--preset", "test", "--seeds", "lots"), "--seeds lots: 'lots' is no number"),
        (("tiny", "--preset", "test", "--seeds", ""), "'' is no number"),
        (("tiny", "--preset", "test", "--gpus", "two"), "--gpus two: 'two' is no number"),
        (("tiny", "--preset", "test", "--gpus", "2"), "no choice of accelerators"),
        (("tiny", "--preset", "test", "--engine", "vllm"), "cannot be run with engine 'vllm'"),
        (("tiny", "--preset", "test", "--resume", "nowhere"), "holds no run to go on with"),
        (("tiny", "--preset", "test", "--resume", "a", "--out", "b"), "name two folders"),
        (("all", "--preset", "lunar"), "no study has a preset 'lunar'"),
        (("all", "--preset", "test", "--seeds", "1"), "--seeds is one study's"),
        (("results", "--out", "nowhere"), "holds no runs of studies"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    options: tuple[str, ...], why: str, here: Path
) -> None:
    done = run(*options)
    assert isinstance(done.exception, BadRequest)
    assert why in str(done.exception)
    assert [path.name for path in here.iterdir()] == ["catalogue"]


def test_a_folder_that_holds_a_run_is_left_as_it_is(here: Path) -> None:
    told("tiny", "--preset", "test", "--out", "run")
    before = (here / "run" / "rows.jsonl").stat().st_mtime_ns
    refused = run("tiny", "--preset", "test", "--out", "run")
    assert isinstance(refused.exception, BadRequest)
    assert "is not empty" in str(refused.exception)
    assert "the report is" not in refused.stderr
    assert (here / "run" / "rows.jsonl").stat().st_mtime_ns == before


def test_a_run_that_was_broken_off_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    studies(monkeypatch, tiny=Fails)
    broken = run("tiny", "--preset", "test", "--out", "run")
    assert isinstance(broken.exception, NodeGone)
    assert "the report is run/report.html" in broken.stderr
    monkeypatch.setattr(entries, "FOLDER", str(Path("catalogue").resolve()))
    done = run("tiny", "--preset", "test", "--resume", "run", "--json")
    assert json.loads(done.stdout)["partial"] is False
    assert "measured seed 1" not in done.stderr
    assert "measured seed 3" in done.stderr


def test_resuming_with_other_seeds_is_refused_by_name() -> None:
    told("tiny", "--preset", "test", "--out", "run")
    refused = run("tiny", "--preset", "test", "--resume", "run", "--seeds", "1-9")
    assert isinstance(refused.exception, BadRequest)
    assert "holds another run: seeds was [1, 2, 3]" in str(refused.exception)


def test_list_tells_which_there_are() -> None:
    assert told("list")["tiny"]["presets"] == ["full", "test"]
    assert "Does a turn that nobody takes" in " ".join(run("list").stdout.split())


def test_all_runs_each_and_one_that_fails_keeps_no_other_from_running(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies(monkeypatch, a=Tiny, b=Fails, c=Tiny)
    done = run("all", "--preset", "test", "--out", "runs")
    assert isinstance(done.exception, CoordinationError)
    assert str(done.exception) == "studies that failed: b; see above"
    assert "b: failed: NodeGone: engine 3 has died" in done.stderr
    index = (here / "runs" / "index.html").read_text()
    assert [index.count(f'href="{name}/report.html"') for name in "abc"] == [1, 1, 1]
    assert index.count("(partial)") == 1


def test_all_goes_on_where_it_was_broken_off(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies(monkeypatch, a=Tiny, b=Fails)
    run("all", "--preset", "test", "--out", "runs")
    (here / "other" / "b.toml").write_text((here / "other" / "a.toml").read_text())
    again = run("all", "--preset", "test", "--out", "runs", "--json")
    assert json.loads(again.stdout)["studies"].keys() == {"a", "b"}
    assert again.stderr.count("measured ") == 2


def test_where_nothing_could_be_measured_all_says_what_failed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that there are no runs to make an index of."""
    studies(monkeypatch, a=FailsTwice)
    done = run("all", "--preset", "test", "--out", "runs")
    assert str(done.exception) == "studies that failed: a; see above"
    assert not (here / "runs" / "index.html").exists()


def test_results_are_written_beside_the_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies(monkeypatch, a=Tiny, b=Tiny)
    told("all", "--preset", "test", "--out", "runs")
    (here / "runs" / "index.html").unlink()
    done = run("results", "--out", "runs")
    assert done.stdout.strip() == "runs/experiments.md"
    assert (here / "runs" / "experiments.md").read_text().count("\n## Tiny") == 2
    assert (here / "runs" / "index.html").exists()
