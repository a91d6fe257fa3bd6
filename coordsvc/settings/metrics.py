"""Where metrics are served, and the keys that open that port: settings, and the keys' files."""

from hashlib import sha256
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from coordsvc.settings.files import refuse_secret
from coordsvc.settings.keys import KeysUnreadable
from coordsvc.settings.node import Node

KEY_CHARS = range(16, 513)
"""Of a key: what is shorter can be guessed."""
KEYS_MAX = 16
"""In a file: two while a key is changed, and some to spare."""
HASHED = "sha256:"
"""Begins a line that is a key's hash in the place of the key."""
HASH_CHARS = 64
FILE_BYTES_MAX = 1 << 16


class MetricsSettings(Node):
    """Where Prometheus finds the instrumentation actor, and an operator the pool."""

    host: str = "127.0.0.1"
    """Address to listen on. Only this machine, unless a cluster's network policy guards it."""
    port: int = Field(default=9464, ge=0, le=65_535)
    """Fixed, so that a scrape configuration can name it; 0 takes any free one. 9464 is the
    port that OpenTelemetry's Prometheus exporter made customary."""
    key_file: str | None = Field(default=None, min_length=1, max_length=4_096)
    """A file on the head node with the key of `/metrics`, which Prometheus sends as a bearer token;
    a line each, if there are several. None asks for none: metrics hold no dialogue."""
    admin_key_file: str | None = Field(default=None, min_length=1, max_length=4_096)
    """The same for `/admin/...`, which changes the pool. None leaves those routes closed."""

    @model_validator(mode="after")
    def _files_of_their_own(self) -> Self:
        refuse_secret("key_file", self.key_file)
        refuse_secret("admin_key_file", self.admin_key_file)
        if self.key_file is not None and self.key_file == self.admin_key_file:
            raise ValueError(
                "key_file and admin_key_file are one file: whoever may read metrics could change "
                "the pool; name two"
            )
        return self


def read_hashes(path: Path) -> tuple[bytes, ...]:
    """Return the hashes of the keys in a file, a line each: a key, or `sha256:` and its hash.

    Raises:
        KeysUnreadable: saying which line is wrong, but not what stands there.

    """
    try:
        with path.open("rb") as file:
            told = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeysUnreadable(f"{path}: cannot be read: {error.strerror}") from error
    if len(told) > FILE_BYTES_MAX:
        raise KeysUnreadable(f"{path}: is larger than {FILE_BYTES_MAX} bytes: no file of keys")
    lines = [
        (number, line.strip()) for number, line in enumerate(told.split(b"\n"), 1) if line.strip()
    ]
    if not 1 <= len(lines) <= KEYS_MAX:
        raise KeysUnreadable(
            f"{path}: holds {len(lines)} keys; 1 to {KEYS_MAX} are right, a line each"
        )
    return tuple(_hash(line, f"{path}, line {number}") for number, line in lines)


def _hash(line: bytes, where: str) -> bytes:
    if not line.isascii():
        raise KeysUnreadable(f"{where}: is not ASCII")
    word = line.decode("ascii")
    if word.startswith(HASHED):
        try:
            told = bytes.fromhex(word.removeprefix(HASHED))
        except ValueError:
            told = b""
        if len(told) * 2 != HASH_CHARS:
            raise KeysUnreadable(
                f"{where}: {HASHED} is followed by {HASH_CHARS} hexadecimal digits"
            )
        return told
    if not (word.isprintable() and " " not in word):
        raise KeysUnreadable(f"{where}: a key is one word")
    if len(word) not in KEY_CHARS:
        raise KeysUnreadable(
            f"{where}: a key of {len(word)} characters; {KEY_CHARS.start} to {KEY_CHARS.stop - 1} "
            "are right, random ones"
        )
    return sha256(line).digest()
