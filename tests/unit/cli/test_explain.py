"""`coordsvc explain --log`, as a user runs it; a running service is asked in tests/integration."""

import json
from pathlib import Path

import pytest

from coordsvc.cli.explain import explain
from coordsvc.core.errors import BadRequest


@pytest.fixture
def agent(decision_log: Path) -> str:
    """Return an agent that has a desk at the end of the log."""
    (path,) = decision_log.iterdir()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    return next(iter([one for one in told if one.get("alloc")][-1]["alloc"]))


def asked(capsys: pytest.CaptureFixture[str], log: Path, agent: str, **more: object) -> str:
    explain(log=log, agent=agent, **more)  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_a_log_is_explained_at_its_end(
    decision_log: Path, agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(asked(capsys, decision_log, agent, as_json=True))
    assert told["about"] == f"agent {agent}"
    assert told["policy"] == "fair_share"
    assert told["desks"]
    assert told["summary"] in asked(capsys, decision_log, agent).replace("\n", " ")


def test_a_log_is_explained_at_any_instant(
    decision_log: Path, agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    end = json.loads(asked(capsys, decision_log, agent, as_json=True))
    later = end["at"] / 1e6 + 3
    told = json.loads(asked(capsys, decision_log, agent, at=later, as_json=True))
    assert told["at"] == end["at"] + 3_000_000
    with pytest.raises(BadRequest, match="has no desk"):
        explain(log=decision_log, agent=agent, at=0.0)


def test_questions_that_make_no_sense_are_refused(decision_log: Path) -> None:
    with pytest.raises(BadRequest, match="name one of"):
        explain(log=decision_log)
    with pytest.raises(BadRequest, match="name one of"):
        explain(log=decision_log, agent="a", desk="b")
    with pytest.raises(BadRequest, match="--at goes with --log"):
        explain(agent="a", at=1.0)
    with pytest.raises(BadRequest, match="before the log's beginning"):
        explain(log=decision_log, agent="a", at=-1.0)


def test_a_log_that_does_not_replay_explains_nothing(decision_log: Path, agent: str) -> None:
    (path,) = decision_log.iterdir()
    path.write_text(path.read_text().replace('"why":"ProtocolError', '"why":"Weather', 1))
    with pytest.raises(BadRequest, match="the log does not replay"):
        explain(log=path, agent=agent)
