"""Who may send dialogue: settings, and the file of keys that they name.

A key is a long random word, so one round of SHA-256 keeps it: nobody can try 2**256 words, however
fast a round is. Slow hashes are for words that people think of.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from coordsvc.core.errors import BadRequest
from coordsvc.settings.files import refuse_secret
from coordsvc.settings.node import Node

TENANT = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""As Kubernetes names things: lower case, digits and hyphens."""
Name = Annotated[str, Field(pattern=TENANT)]
FILE_BYTES_MAX = 4 << 20
"""Some twenty thousand keys. A file of more is not a file of keys."""


class KeySettings(Node):
    """Where keys are kept, and what guessing costs."""

    file: str = Field(min_length=1, max_length=4_096)
    """A YAML file of keys, as `coordsvc keys new` writes them: mounted from a Secret, as a rule.
    Never the keys themselves, which would stand in every place that shows the configuration."""
    reload_s: float = Field(default=2.0, ge=0.1, le=3_600)
    """Seconds between looks at the file. Kubernetes takes up to a minute to change it anyway."""
    wrong_per_minute_max: int = Field(default=30, ge=1, le=100_000)
    """Wrong keys that one address may send in a minute. People mistype; programs guess."""
    addresses_max: int = Field(default=10_000, ge=1, le=1_000_000)
    """Addresses that are remembered for having sent wrong keys; a megabyte or two."""

    @model_validator(mode="after")
    def _file_of_keys(self) -> Self:
        refuse_secret("file", self.file)
        return self


class Key(Node):
    """One key: what it is called, whose it is, and how much of the service it may use."""

    name: Name
    """For people: in logs and in the file. No secret."""
    tenant: Name | None = None
    """Whose it is; None is nobody's in particular."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the key, in hexadecimal."""
    requests_per_minute: int | None = Field(default=None, ge=1, le=10_000_000)
    """At each replica of the ingress; None sets no limit."""
    burst: int | None = Field(default=None, ge=1, le=1_000_000)
    """Requests that may come at once after a rest; None is a tenth of a minute's."""
    turns_at_once: int | None = Field(default=None, ge=1, le=1_000_000)
    """Turns under way, at each replica of the ingress; None sets no limit."""

    @model_validator(mode="after")
    def _burst_of_something(self) -> Self:
        if self.burst is not None and self.requests_per_minute is None:
            raise ValueError("burst needs requests_per_minute: without a limit there is no burst")
        return self


class KeyFile(Node):
    """All keys."""

    keys: tuple[Key, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for what in ("name", "sha256"):
            counted = Counter(getattr(key, what) for key in self.keys)
            double = [value for value, count in counted.items() if count > 1]
            if double:
                raise ValueError(f"two keys have the {what} {double[0]}")
        return self


class KeysUnreadable(BadRequest):
    """The file of keys cannot be read, or is none."""


def read_keys(path: Path) -> KeyFile:
    """Return the keys in a file; raise `KeysUnreadable` saying what is wrong, but no secret."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise KeysUnreadable(f"{path} is larger than {FILE_BYTES_MAX} bytes: no file of keys")
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeysUnreadable(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # the error's own words may repeat the line, and whatever secret stands there
        raise KeysUnreadable(f"{path}: is not YAML ({type(error).__name__})") from None
    try:
        return KeyFile.model_validate(told)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        first = faults[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise KeysUnreadable(f"{path}: {where}: {first['msg']}") from None
