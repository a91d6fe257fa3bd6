"""Settings that name files of secrets: a key in a name's place is refused, and not repeated."""

import os
from pathlib import Path

import pytest

from coordsvc.settings.files import refuse_secret, stamp_of


@pytest.mark.parametrize(
    "said",
    [
        "ck-short",
        "sha256:" + "a" * 64,
        "0123456789abcdef" * 4,
        "dGhpcyBpcyBhIHNlY3JldCB3b3Jk",
        "ck-two\nlines",
    ],
)
def test_a_key_is_refused_and_not_repeated(said: str) -> None:
    with pytest.raises(ValueError, match="file names a file, and this looks like a key") as caught:
        refuse_secret("file", said)
    assert said not in str(caught.value)


@pytest.mark.parametrize("said", [None, "keys.yaml", "/etc/coordsvc/keys", "keys", "./admin-key"])
def test_a_name_of_a_file_is_right(said: str | None) -> None:
    refuse_secret("file", said)


def test_a_file_that_is_replaced_has_another_stamp(tmp_path: Path) -> None:
    """As Kubernetes changes a mounted Secret: another file under the same name."""
    file, other = tmp_path / "key", tmp_path / "other"
    assert stamp_of(file) is None
    for path in (file, other):
        path.write_text("the same")
        os.utime(path, (1, 1))
    before = stamp_of(file)
    assert stamp_of(file) == before
    other.replace(file)
    assert stamp_of(file) != before
