"""Runs of a tiny study in processes of their own: killed, and with other hashes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

from coordsvc.experiments import entries
from coordsvc.experiments.runner import run
from tests.unit.experiments.tiny import Dies, Drawn, Tiny, plan, tiny

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from coordsvc.experiments.runner import run
from tests.unit.experiments import tiny

entry = tiny.tiny(getattr(tiny, sys.argv[1]))
say = lambda line: print(line, flush=True)
run(entry, tiny.plan(entry), Path(sys.argv[2]), say, resume="resume" in sys.argv)
"""


def process(study: type[Tiny], place: Path, *told: str, hashes: str = "0"):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, study.__name__, str(place), *told],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hashes},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_rows_survive_a_kill_and_the_run_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    assert process(Dies, killed).returncode == -signal.SIGKILL
    assert (killed / "rows.jsonl").read_text().count("\n") == 1
    assert not (killed / "report.html").exists(), "there was no time for it"

    resumed = process(Tiny, killed, "resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "measured seed 1" not in resumed.stdout
    assert "measured seed 2" in resumed.stdout
    run(tiny(), plan(), alone, lambda _: None)
    for name in ("rows.jsonl", "rows.parquet", "summary.json"):
        assert (killed / name).read_bytes() == (alone / name).read_bytes()


def test_a_study_that_is_told_to_end_reports_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coordsvc.cli", "experiment", "fragmentation"]
    place = tmp_path / "run"
    with subprocess.Popen(
        [*command, "--out", str(place)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as told:
        assert told.stderr is not None
        try:
            next(line for line in told.stderr if "2 of" in line)
            told.terminate()
            told.communicate(timeout=30)
        finally:
            told.kill()
    assert told.returncode == 128 + signal.SIGTERM
    summary = json.loads((place / "summary.json").read_text())
    assert summary["partial"]
    assert summary["cells_done"] >= 1
    assert "SystemExit" in (place / "report.html").read_text()


def test_the_same_rows_make_the_same_bytes_whatever_the_process_hashes_by(tmp_path: Path) -> None:
    for hashes in ("1", "2"):
        done = process(Drawn, tmp_path / hashes, hashes=hashes)
        assert done.returncode == 0, done.stderr
    one, other = tmp_path / "1", tmp_path / "2"
    for name in ("plots/took.svg", "plots/took.png", "rows.parquet", "rows.jsonl", "summary.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("name", entries.names())
def test_each_study_of_the_catalogue_can_be_run_small_and_has_a_page(name: str) -> None:
    found = entries.entry(name)
    study = found.make()
    assert study.name == name
    for preset in found.presets:
        told = entries.plan(found, preset)
        study.check(told)
        keys = [cell.key for cell in study.cells(told)]
        assert keys
        assert len(set(keys)) == len(keys)
    assert (ROOT / "docs" / "studies" / f"{name}.md").exists()
