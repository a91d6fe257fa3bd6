"""Services that run here are remembered for as long as they live."""

import os
import subprocess
from pathlib import Path

import pytest

from coordsvc.cli import runs
from coordsvc.cli.runs import Run
from coordsvc.core.errors import BadRequest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COORDSVC_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def run(pid: int) -> Run:
    url = f"http://127.0.0.1:{pid}"
    return Run(
        pid=pid,
        app="coordsvc",
        url=url,
        direct_url=url,
        metrics_url=f"{url}/metrics",
        ray_address="127.0.0.1:1",
    )


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


MINE = run(os.getpid())
PARENT = run(os.getppid())


def test_what_is_remembered_is_found_until_it_is_forgotten() -> None:
    assert runs.alive() == []
    runs.remember(MINE)
    runs.remember(PARENT)
    assert sorted(runs.alive(), key=lambda one: one.pid) == sorted(
        [MINE, PARENT], key=lambda one: one.pid
    )
    runs.forget(MINE.pid)
    runs.forget(MINE.pid)
    assert runs.alive() == [PARENT]


def test_a_run_whose_process_has_ended_is_forgotten(folder: Path, dead: int) -> None:
    path = runs.remember(run(dead))
    assert path.exists()
    assert runs.alive() == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", '{"pid": ', "[]", "{}", '{"pid": 1, "colour": "red"}', "\0", '{"pid": "x"}'],
)
def test_a_file_that_cannot_be_read_is_no_run(folder: Path, text: str) -> None:
    """A process killed while it wrote, or another version of this program."""
    runs.remember(MINE)
    (folder / "7.json").write_text(text)
    assert runs.alive() == [MINE]


def test_a_run_of_another_user_lives() -> None:
    """Process 1 is init's; unless we are root, it is not ours to signal."""
    runs.remember(run(1))
    assert runs.alive() == [run(1)]


def test_the_only_run_is_the_one() -> None:
    runs.remember(MINE)
    assert runs.the_one(None) == MINE
    assert runs.the_one(MINE.pid) == MINE


def test_of_several_one_must_be_named() -> None:
    runs.remember(MINE)
    runs.remember(PARENT)
    with pytest.raises(BadRequest, match=f"--pid {MINE.pid} "):
        runs.the_one(None)
    assert runs.the_one(PARENT.pid) == PARENT


@pytest.mark.parametrize("pid", [None, 7])
def test_where_none_runs_the_remedy_is_told(pid: int | None) -> None:
    with pytest.raises(BadRequest, match="`coordsvc up` starts one"):
        runs.the_one(pid)


def test_they_lie_where_the_user_s_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COORDSVC_STATE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert runs.folder() == Path("/somewhere/coordsvc/runs")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert runs.folder() == Path.home() / ".cache/coordsvc/runs"


def test_a_run_is_whole_on_disk_or_not_there(folder: Path) -> None:
    """Somebody may read while it is written: it is renamed into its place."""
    path = runs.remember(MINE)
    before = path.stat().st_ino
    runs.remember(MINE)
    assert path.stat().st_ino != before
    assert list(folder.iterdir()) == [path]
