"""`coordsvc replay`, as a user runs it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coordsvc.cli.replay import replay
from coordsvc.core.errors import BadRequest

app = typer.Typer()
app.command()(replay)


def run(*words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, list(words))
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.exit_code, ran.stdout


def test_a_log_that_replays_is_said_to(decision_log: Path) -> None:
    code, said = run(str(decision_log))
    assert code == 0
    assert "150 events gave the same" in said
    told = json.loads(run(str(decision_log), "--json")[1])
    assert (told["same"], told["events"], told["difference"], told["cut"]) == (True, 150, None, [])


def test_a_log_that_does_not_is_shown_where(decision_log: Path) -> None:
    (path,) = decision_log.iterdir()
    text = path.read_text()
    assert '"why":"ProtocolError' in text
    path.write_text(text.replace('"why":"ProtocolError', '"why":"Weather', 1))
    code, said = run(str(path))
    assert code == 1
    assert "Weather" in said
    code, said = run(str(path), "--json")
    assert code == 1
    assert json.loads(said)["difference"]["line"] > 1


def test_a_cut_log_replays_as_far_as_it_goes(decision_log: Path) -> None:
    (path,) = decision_log.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    code, said = run(str(path))
    assert code == 0
    assert "the last line was cut" in said


def test_another_policy_is_enacted(decision_log: Path) -> None:
    code, said = run(str(decision_log), "--policy", "first_come", "--json")
    assert code == 0
    told = json.loads(said)
    assert told["waits"].keys() == {"logged", "same", "other"}
    assert told["waits"]["same"].keys() == told["waits"]["other"].keys() != set()
    code, said = run(str(decision_log), "--policy", "first_come")
    assert code == 0
    assert "first_come" in said


def test_a_policy_that_there_is_not_is_refused(decision_log: Path) -> None:
    with pytest.raises(BadRequest, match="there is no policy 'luck'"):
        run(str(decision_log), "--policy", "luck")


def test_a_corrupt_line_is_refused_with_its_place(decision_log: Path) -> None:
    (path,) = decision_log.iterdir()
    lines = path.read_text().splitlines(keepends=True)
    lines[4] = "oops\n"
    path.write_text("".join(lines))
    with pytest.raises(BadRequest, match=r"decisions-00000001.jsonl, line 5: is not JSON"):
        run(str(path))
