"""The decision log, line by line: what each says, and how it is written and read.

A file begins with a header that holds the allocator's state; after it stands every event, with
the effects that came of it. So each file can be replayed by itself. The writer is
`coordsvc.telemetry.decision_log`; who reads is `coordsvc.core.hindsight.replay`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import Plain, from_plain, to_plain
from coordsvc.core.messages import Effect, Event
from coordsvc.core.units import AgentId, Epoch, Instant

VERSION = 1
"""Rises when a reader of the version before would be wrong about a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a file."""

    version: int
    epoch: Epoch
    state: Plain
    """A snapshot: what the allocator was before the file's first event."""
    lost: int = 0
    """Events that were not written between the file before and this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An event, when it was told, and what came of it."""

    at: Instant
    event: Event
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What each agent held at a tick, and what that is worth to it, where the policy knows."""

    at: Instant
    alloc: Mapping[AgentId, Mapping[str, int]]
    """alloc_i: by resource, gpu and cpu in thousandths, bandwidth in Mb/s."""
    utility: Mapping[AgentId, float] = field(default_factory=dict)
    """u_i of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The last line of a file that was cut: from here on events were lost."""

    gap: int
    """How many were known to be lost when this was written."""


Entry = Header | Decision | Levels | Gap
_MARKS: Mapping[str, Any] = {"state": Header, "event": Decision, "alloc": Levels, "gap": Gap}
"""By which field a line is known."""


@dataclass(frozen=True, slots=True)
class Line:
    """An entry, and where it stands."""

    file: str
    number: int
    entry: Entry


def write(entry: Entry) -> str:
    """Return an entry as one line, with its end; raise `BadRequest` if it cannot be written."""
    data = to_plain(entry, type(entry))
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def read(text: str) -> Entry:
    """Return the entry that a line holds; raise `BadRequest` with a reason if it holds none."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadRequest("is not an object")
    for mark, kind in _MARKS.items():
        if mark in data:
            entry: Entry = from_plain(data, kind)
            return entry
    raise BadRequest(f"has none of the fields {', '.join(_MARKS)}")


def read_file(name: str, texts: Iterable[str]) -> Iterator[Line]:
    """Yield the entries of one file; a last line without an end was cut by a crash, and left out.

    `texts` are the file's lines, each with its end.

    Raises:
        BadRequest: a line cannot be read; says which, and why.

    """
    number = 0
    for number, text in enumerate(texts, start=1):
        if not text.endswith("\n") and number > 1:
            return
        try:
            entry = _placed(number, read(text))
        except BadRequest as error:
            raise BadRequest(f"{name}, line {number}: {error}") from None
        if isinstance(entry, Header) and entry.version != VERSION:
            raise BadRequest(f"{name} is of version {entry.version}; this program reads {VERSION}")
        yield Line(name, number, entry)
    if number == 0:
        raise BadRequest(f"{name} is empty")


def _placed(number: int, entry: Entry) -> Entry:
    if (number == 1) is not isinstance(entry, Header):
        raise BadRequest("a header stands in the first line, and only there")
    return entry


def is_cut(text: str) -> bool:
    """Tell whether a file's last line was cut by a crash."""
    return bool(text) and not text.endswith("\n")
