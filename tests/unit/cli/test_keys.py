"""`coordsvc keys`: keys are made, shown once, and kept as hashes."""

from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordsvc.cli.keys import app
from coordsvc.core.errors import BadRequest
from coordsvc.settings.keys import read_keys

RUN = CliRunner()


def test_a_new_key_is_printed_once_and_its_hash_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    made = RUN.invoke(app, ["new", str(file), "--name", "alice", "--tenant", "research"])
    assert made.exit_code == 0, made.output
    word = made.stdout.strip()
    assert word.startswith("ck-")
    assert len(word) > 40
    (key,) = read_keys(file).keys
    assert (key.name, key.tenant) == ("alice", "research")
    assert key.sha256 == sha256(word.encode()).hexdigest()
    assert word not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0, "nobody else needs to read it"


def test_keys_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    RUN.invoke(app, ["new", str(file), "--name", "alice", "--turns-at-once", "3"])
    RUN.invoke(app, ["new", str(file), "--name", "bob", "--requests-per-minute", "60"])
    alice, bob = read_keys(file).keys
    assert (alice.turns_at_once, bob.requests_per_minute) == (3, 60)
    shown = RUN.invoke(app, ["list", str(file)]).stdout
    assert "alice" in shown
    assert alice.sha256[:20] not in shown


def test_a_name_that_is_there_or_makes_no_sense_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    RUN.invoke(app, ["new", str(file), "--name", "alice"])
    before = file.read_text()
    for name, why in (("alice", "two keys have the name alice"), ("A B", "should match")):
        refused = RUN.invoke(app, ["new", str(file), "--name", name])
        assert isinstance(refused.exception, BadRequest)
        assert why in str(refused.exception)
    assert file.read_text() == before


def test_a_key_made_elsewhere_is_hashed_from_standard_input() -> None:
    told = RUN.invoke(app, ["hash"], input="ck-my-own\n")
    assert told.stdout.strip() == sha256(b"ck-my-own").hexdigest()


@pytest.mark.parametrize("nothing", ["", "\n"])
def test_no_key_has_no_hash(nothing: str) -> None:
    assert isinstance(RUN.invoke(app, ["hash"], input=nothing).exception, BadRequest)
