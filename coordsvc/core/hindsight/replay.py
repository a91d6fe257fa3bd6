"""Replays a decision log: the same events must give the same effects, to the last bit."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from coordsvc.core.allocator import Allocator
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import to_plain
from coordsvc.core.hindsight.decisions import Decision, Gap, Header, Line
from coordsvc.core.hindsight.snapshot import restore, snapshot
from coordsvc.core.messages import Effect, Event
from coordsvc.core.policies import Policy
from coordsvc.core.policies.catalogue import PolicyTerms, make
from coordsvc.core.units import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where what is said now is not what was said then."""

    file: str
    line: int
    at: Instant
    what: str
    """The event, or the state at a file's beginning."""
    then: Any
    """As plain data."""
    now: Any


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What came of a replay."""

    files: int = 0
    events: int = 0
    effects: int = 0
    lost: int = 0
    """Events that the log does not have."""
    first: Instant | None = None
    last: Instant | None = None
    difference: Difference | None = None
    """The first one; nothing is replayed after it."""
    allocator: Allocator | None = field(default=None, repr=False)
    """As it was at the end."""


def replay(
    lines: Iterable[Line],
    make_policy: Callable[[PolicyTerms], Policy] = make,
    until: Instant | None = None,
) -> Replayed:
    """Tell an allocator all that is in `lines`, up to `until`, and compare what it says.

    Raises:
        BadRequest: a header's state cannot be restored.

    """
    told = Replayed()
    for line in lines:
        match line.entry:
            case Header() as header:
                _begin(told, line, header, make_policy)
            case Decision() as decision:
                if until is not None and decision.at > until:
                    break
                _tell(told, line, decision)
            case Gap():
                told.allocator = None  # what comes next does not follow from what was
            case _:
                pass
        if told.difference is not None:
            break
    return told


def decisions(lines: Iterable[Line]) -> Iterator[Decision]:
    """Yield the events alone."""
    for line in lines:
        if isinstance(line.entry, Decision):
            yield line.entry


def _begin(
    told: Replayed, line: Line, header: Header, make_policy: Callable[[PolicyTerms], Policy]
) -> None:
    """Begin a file with its own state, which is the one that the file before it ended with."""
    told.files += 1
    told.lost += header.lost
    before = told.allocator
    if before is not None and before.epoch == header.epoch and not header.lost:
        reached = snapshot(before)
        if _text(reached) != _text(header.state):
            then, now = _apart(header.state, reached)
            told.difference = Difference(
                file=line.file, line=1, at=before.now, what="the state", then=then, now=now
            )
            return
    try:
        told.allocator = restore(header.state, make_policy)
    except BadRequest as error:
        raise BadRequest(f"{line.file}, line 1: {error}") from None


def _tell(told: Replayed, line: Line, decision: Decision) -> None:
    assert told.allocator is not None, "a file begins with a header"
    effects = tuple(told.allocator.handle(decision.at, decision.event))
    told.events += 1
    told.effects += len(effects)
    told.first = decision.at if told.first is None else told.first
    told.last = decision.at
    then, now = to_plain(decision.effects, _EFFECTS), to_plain(effects, _EFFECTS)
    if _text(then) != _text(now):
        event = to_plain(decision.event, Event)
        told.difference = Difference(
            file=line.file, line=line.number, at=decision.at, what=_text(event), then=then, now=now
        )


_EFFECTS: Any = tuple[Effect, ...]


def _text(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), sort_keys=True)


def _apart(then: Any, now: Any) -> tuple[Any, Any]:
    """Return the fields of two states that differ."""
    names = sorted({*then, *now})
    differ = [name for name in names if then.get(name) != now.get(name)]
    return {name: then.get(name) for name in differ}, {name: now.get(name) for name in differ}
