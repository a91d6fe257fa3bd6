"""An explanation from a decision log; a running service is asked in tests/e2e."""

import json
from pathlib import Path

import pytest

from coordsvc.cli.explained import asked, from_log, show
from coordsvc.core.errors import BadRequest


@pytest.fixture
def agent(decision_log: Path) -> str:
    """Return an agent that has a desk at the end of the log."""
    (path,) = decision_log.iterdir()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    return next(iter([one for one in told if one.get("alloc")][-1]["alloc"]))


def test_a_log_is_explained_at_its_end(
    decision_log: Path, agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = from_log(decision_log, None, asked(agent=agent))
    assert told.about == f"agent {agent}"
    assert told.policy == "fair_share"
    assert told.desks
    show(told)
    assert told.summary in capsys.readouterr().out.replace("\n", " ")


def test_a_log_is_explained_at_any_instant(decision_log: Path, agent: str) -> None:
    end = from_log(decision_log, None, asked(agent=agent)).at
    assert from_log(decision_log, end / 1e6 + 3, asked(agent=agent)).at == end + 3_000_000
    with pytest.raises(BadRequest, match="has no desk"):
        from_log(decision_log, 0.0, asked(agent=agent))
    with pytest.raises(BadRequest, match="before the log's beginning"):
        from_log(decision_log, -1.0, asked(agent=agent))


def test_one_thing_is_asked_about() -> None:
    assert asked(agent="a", desk=None, turn=None) == {"agent": "a"}
    for named in ({"agent": None}, {"agent": "a", "desk": "b"}):
        with pytest.raises(BadRequest, match="name one of"):
            asked(**named)


def test_a_log_that_does_not_replay_explains_nothing(decision_log: Path, agent: str) -> None:
    (path,) = decision_log.iterdir()
    path.write_text(path.read_text().replace('"why":"ProtocolError', '"why":"Weather', 1))
    with pytest.raises(BadRequest, match="the log does not replay"):
        from_log(path, None, asked(agent=agent))
