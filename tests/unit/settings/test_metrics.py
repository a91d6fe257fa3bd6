"""The keys of the instruments' port: their settings, and their files."""

from hashlib import sha256
from pathlib import Path

import pytest

from coordsvc.settings import SettingsError, check
from coordsvc.settings.keys import KeysUnreadable
from coordsvc.settings.metrics import FILE_BYTES_MAX, KEYS_MAX, read_hashes

KEY, OTHER = "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "a-second-word-of-some-length"


def hashed(word: str) -> bytes:
    return sha256(word.encode()).digest()


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY + "\n",
        f"\n  {KEY}  \r\n\n",
        f"sha256:{sha256(KEY.encode()).hexdigest()}",
        f"sha256:{sha256(KEY.encode()).hexdigest().upper()}\n",
    ],
)
def test_a_key_is_a_word_or_its_hash(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    assert read_hashes(file) == (hashed(KEY),)


def test_while_a_key_is_changed_both_are_right(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n{OTHER}\n")
    assert read_hashes(file) == (hashed(KEY), hashed(OTHER))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds 0 keys; 1 to 16"),
        (b" \n\n", "holds 0 keys"),
        (f"{KEY}\n".encode() * (KEYS_MAX + 1), "holds 17 keys"),
        (b"tooshort", "line 1: a key of 8 characters; 16 to 512"),
        (KEY.encode() + b"\n" + b"x" * 513, "line 2: a key of 513 characters"),
        (b"two-words which-are-one-key", "line 1: a key is one word"),
        (b"a-word-with-a-bell-\x07-in-it", "line 1: a key is one word"),
        ("ein-Schl\u00fcssel-mit-Umlaut".encode(), "line 1: is not ASCII"),
        (b"sha256:0123", "line 1: sha256: is followed by 64 hexadecimal digits"),
        (b"sha256:" + b"g" * 64, "line 1: sha256: is followed by 64 hexadecimal digits"),
        (b"x" * (FILE_BYTES_MAX + 1), "is larger than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_said_and_not_repeated(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(KeysUnreadable, match=why) as caught:
        read_hashes(file)
    for word in content.decode().split():
        assert word not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match="none: cannot be read: No such file"):
        read_hashes(tmp_path / "none")


@pytest.mark.parametrize("field", ["key_file", "admin_key_file"])
def test_a_key_in_the_configuration_is_refused_and_not_repeated(field: str) -> None:
    with pytest.raises(SettingsError, match=f"{field} names a file, .* looks like a key") as caught:
        check({"metrics": {field: KEY}})
    assert KEY not in str(caught.value)


def test_a_key_under_a_name_that_there_is_not_is_not_repeated_either() -> None:
    with pytest.raises(SettingsError, match="did you mean `admin_key_file`") as caught:
        check({"metrics": {"admin_key": KEY}})
    assert KEY not in str(caught.value)


def test_one_file_for_both_keys_is_refused() -> None:
    both = {"key_file": "/etc/key", "admin_key_file": "/etc/key"}
    with pytest.raises(SettingsError, match="whoever may read metrics could change the pool"):
        check({"metrics": both})
