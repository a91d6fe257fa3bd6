"""`coordsvc train prepare`, run as it is typed."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coordsvc.cli.train.prepare import prepare
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER
from coordsvc.core.errors import BadRequest
from coordsvc.training.prepared import load
from tests.unit.training.dialogues import forest, write

pytest.importorskip("datasets", reason="the train extra is not installed")

app = typer.Typer()
app.command()(prepare)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "some.jsonl", forest(8))


def run(*options: object):
    return CliRunner().invoke(app, [str(one) for one in options])


def test_one_json_object_says_what_was_made_and_where(file: Path, tmp_path: Path) -> None:
    options = ("--dataset", file, "--out", tmp_path / "out", "--held-out", "0.25", "--json")
    first, again = run(*options), run(*options)
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert told["trees"] == {"train": 6, "held_out": 2}
    assert set(told["samples"]["train"]) == {PLANNER, RESPONDER, CHECKER}
    assert told["options"]["seed"] == 42
    assert not told["reused"]
    assert json.loads(again.stdout) == told | {"reused": True}
    assert load(Path(told["folder"])).fingerprint == told["content"]


def test_people_see_tables_with_counts_and_drops(file: Path, tmp_path: Path) -> None:
    done = run("--dataset", file, "--out", tmp_path / "out", "--text-max", "70")
    assert done.exit_code == 0, done.output
    assert "responder" in done.stdout
    assert "8 too long" in done.stdout


def test_a_line_that_is_no_json_is_skipped_only_on_request(file: Path, tmp_path: Path) -> None:
    file.write_text(f"{file.read_text()}oops\n")
    options = ("--dataset", file, "--out", tmp_path / "out")
    refused = run(*options)
    assert isinstance(refused.exception, BadRequest)
    assert "line 41" in str(refused.exception)
    done = run(*options, "--skip-bad")
    assert done.exit_code == 0, done.output
    assert "1 not json" in done.stdout
