"""`coordsvc calibrate`, run as it is typed, on an emulated engine a million times as fast."""

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from coordsvc.cli.calibrate import calibrate, folder, stored
from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.engines.settings import EmulatedSettings, OpenVinoSettings

app = typer.Typer()
app.command()(calibrate)

QUICK = {"kind": "emulated", "speed": 1_000_000.0}
SMALL = ("--dialogues", "2", "--repeats", "1", "--turns", "1")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COORDSVC_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "baselines"


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    return written(tmp_path / "quick.yaml", QUICK)


def written(path: Path, *engines: dict) -> Path:
    applications = [
        {"name": f"app{number}", "import_path": "coordsvc.serving.app:build", "args": {"engine": e}}
        for number, e in enumerate(engines)
    ]
    path.write_text(yaml.safe_dump({"applications": applications}))
    return path


def run(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words])


def told(*words: str | Path) -> dict:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_what_is_measured_is_stored_and_shown(deployment: Path, state: Path) -> None:
    made = told(deployment, *SMALL)
    assert made["emulated"] is True
    assert (made["kept"]["turns"], made["cold"]["turns"]) == (2, 2)
    assert [path.name for path in state.iterdir()] == ["emulated-emulated-8b.json"]
    assert told(deployment, "--show") == made


def test_people_see_a_table_and_that_it_is_emulated(deployment: Path) -> None:
    done = run(deployment, *SMALL)
    assert done.exit_code == 0, done.output
    assert "C_baseline of a turn" in done.stdout
    assert "say nothing of a machine" in done.stdout
    assert "emulated-emulated-8b.json" in done.stdout
    assert "dialogue 4 of 4" in done.stderr


def test_it_is_put_where_it_is_wanted(deployment: Path, tmp_path: Path, state: Path) -> None:
    place = tmp_path / "somewhere" / "else.json"
    made = told(deployment, *SMALL, "--out", place)
    assert json.loads(place.read_text()) == made
    assert told(deployment, "--show", "--out", place) == made
    assert not state.exists()


def test_one_of_other_settings_is_not_shown_for_these(deployment: Path, tmp_path: Path) -> None:
    told(deployment, *SMALL)
    other = written(tmp_path / "other.yaml", {**QUICK, "speed": 500_000.0})
    done = run(other, "--show")
    assert isinstance(done.exception, BadRequest)
    assert "settings.speed: 1000000.0 there, 500000.0 here" in str(done.exception)


def test_nothing_is_shown_where_nothing_is_stored(deployment: Path) -> None:
    done = run(deployment, "--show")
    assert isinstance(done.exception, BadRequest)
    assert "`coordsvc calibrate` makes a new one" in str(done.exception)


def test_a_model_that_is_not_there_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    done = run(written(tmp_path / "x.yaml", {"kind": "openvino", "model": "nowhere.gguf"}))
    assert isinstance(done.exception, EngineBroken)
    assert "'nowhere.gguf' is not there" in str(done.exception)


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_without_one_application_of_ours_is_refused(tmp_path: Path, count: int) -> None:
    path = written(tmp_path / "x.yaml", *[QUICK] * count)
    if count == 0:
        path.write_text("applications: [{import_path: another:app}]")
    done = run(path, *SMALL)
    assert isinstance(done.exception, BadRequest)
    assert f"has {count} applications of coordsvc" in str(done.exception)


@pytest.mark.parametrize("words", [("--dialogues", "0"), ("--repeats", "0"), ("--turns", "0")])
def test_no_dialogues_are_refused(deployment: Path, words: tuple[str, ...]) -> None:
    done = run(deployment, *words)
    assert done.exit_code == 2
    assert f"Invalid value for '{words[0]}'" in done.stderr


def test_one_run_is_refused_before_it_is_made(deployment: Path) -> None:
    done = run(deployment, "--dialogues", "1", "--repeats", "1")
    assert isinstance(done.exception, BadRequest)
    assert "no interval" in str(done.exception)


def test_each_engine_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stored(EmulatedSettings()) != stored(OpenVinoSettings())
    odd = stored(OpenVinoSettings(model="../a model: of mine.gguf"))
    assert odd.parent == folder()
    monkeypatch.delenv("COORDSVC_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/some/state")
    assert folder() == Path("/some/state/coordsvc/baselines")
