"""The keys of one file: what opens, what a changed file changes, what a wrong key costs."""

import hmac
import logging
from pathlib import Path

import pytest

from coordsvc.serving.port_keys import PortKeys
from coordsvc.settings.keys import KeysUnreadable

KEY, OTHER = b"0f1e2d3c4b5a69788796a5b4c3d2e1f0", b"a-second-word-of-some-length"


class Book:
    """Counts the files that could not be read."""

    def __init__(self) -> None:
        self.unreadable = 0

    def count(self) -> None:
        self.unreadable += 1


def replace(file: Path, content: bytes) -> None:
    draft = file.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(file)


def test_only_the_key_opens(tmp_path: Path) -> None:
    file = tmp_path / "key"
    replace(file, KEY)
    keys = PortKeys(str(file), Book().count)
    assert keys.opened_by(KEY)
    for wrong in (b"", KEY[:-1], KEY + b"x", KEY.upper(), OTHER, b"\xff" * 32):
        assert not keys.opened_by(wrong)


def test_a_changed_file_is_read_at_the_next_question(tmp_path: Path) -> None:
    file = tmp_path / "key"
    replace(file, KEY)
    keys = PortKeys(str(file), Book().count)
    replace(file, KEY + b"\n" + OTHER)
    assert keys.opened_by(KEY)
    assert keys.opened_by(OTHER)
    replace(file, OTHER)
    assert not keys.opened_by(KEY)


def test_a_broken_file_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, book = tmp_path / "key", Book()
    replace(file, KEY)
    keys = PortKeys(str(file), book.count)
    assert keys.opened_by(KEY)
    replace(file, b"short")
    for _ in range(3):
        assert keys.opened_by(KEY)
    file.unlink()
    assert keys.opened_by(KEY)
    assert book.unreadable == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "the keys stay what they were" in caplog.text
    replace(file, OTHER)
    assert keys.opened_by(OTHER)


def test_a_file_that_never_was_one_opens_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, book = tmp_path / "key", Book()
    keys = PortKeys(str(file), book.count)
    for word in (KEY, b""):
        with pytest.raises(KeysUnreadable):
            keys.opened_by(word)
    assert book.unreadable == 1
    assert "nobody is let in" in caplog.text
    replace(file, KEY)
    assert keys.opened_by(KEY)


def test_a_wrong_key_takes_the_steps_of_a_right_one(tmp_path: Path) -> None:
    """It is compared with every key, also after one was equal; whole hashes, in constant time."""
    compared: list[tuple[int, int]] = []

    def same(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    file = tmp_path / "key"
    replace(file, KEY + b"\n" + OTHER)
    keys = PortKeys(str(file), Book().count, same)
    for word in (KEY, OTHER, b"", b"x" * 10_000):
        keys.opened_by(word)
    assert compared == [(32, 32)] * 8
