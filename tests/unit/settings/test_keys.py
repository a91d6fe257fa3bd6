"""The file of keys: what is wrong in it is said, and never a secret."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from coordsvc.settings import check
from coordsvc.settings.keys import FILE_BYTES_MAX, KeySettings, KeysUnreadable, read_keys

HASH, OTHER = "a" * 64, "b" * 64
SECRET = "ck-the-word-itself"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_keys_is_read(tmp_path: Path) -> None:
    file = written(
        tmp_path / "keys.yaml",
        f"keys:\n- {{name: alice, tenant: research, sha256: {HASH}, turns_at_once: 3}}\n"
        f"- {{name: bob, sha256: {OTHER}, requests_per_minute: 60, burst: 5}}\n",
    )
    alice, bob = read_keys(file).keys
    assert (alice.name, alice.tenant, alice.turns_at_once) == ("alice", "research", 3)
    assert (bob.tenant, bob.requests_per_minute, bob.burst) == (None, 60, 5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("keys: [", "is not YAML"),
        (f"keys: ['{SECRET}", "is not YAML"),
        ("", "the file: Input should be"),
        ("keys: []", "keys: .*at least 1"),
        (f"keys: [{{name: alice, sha256: {SECRET}}}]", "keys.0.sha256: String should match"),
        (f"keys: [{{name: alice, key: {SECRET}, sha256: {HASH}}}]", "keys.0.key: Extra inputs"),
        (f"keys: [{{name: Alice B, sha256: {HASH}}}]", "keys.0.name: String should match"),
        (f"keys: [{{name: a, sha256: {HASH}, turns_at_once: 0}}]", "turns_at_once: .*greater"),
        (f"keys: [{{name: a, sha256: {HASH}, requests_per_minute: -5}}]", "greater than"),
        (f"keys: [{{name: a, sha256: {HASH}, burst: 5}}]", "burst needs requests_per_minute"),
        (
            f"keys: [{{name: a, sha256: {HASH}}}, {{name: a, sha256: {OTHER}}}]",
            "two keys have the name a",
        ),
        (
            f"keys: [{{name: a, sha256: {HASH}}}, {{name: b, sha256: {HASH}}}]",
            "two keys have the sha256",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    file = written(tmp_path / "keys.yaml", text)
    with pytest.raises(KeysUnreadable, match=why) as refusal:
        read_keys(file)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None, "a traceback would show what stood there"


def test_a_file_that_is_not_there_or_is_no_file_of_keys(tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match="cannot be read: No such file"):
        read_keys(tmp_path / "none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KeysUnreadable, match="is not YAML"):
        read_keys(tmp_path / "binary")
    large = written(tmp_path / "large.yaml", " " * (FILE_BYTES_MAX + 1))
    with pytest.raises(KeysUnreadable, match="larger than"):
        read_keys(large)


def test_keys_are_named_by_their_file_and_never_written_in_the_settings() -> None:
    assert check({"keys": {"file": "/etc/keys.yaml"}}).keys == KeySettings(file="/etc/keys.yaml")
    with pytest.raises(ValidationError):
        KeySettings.model_validate({"keys": [SECRET]})
