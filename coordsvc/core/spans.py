"""Spans as plain values, and what is told of a turn so that its spans can be made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from coordsvc.core.accounting import PhaseSpan, TurnResult
from coordsvc.core.dialogue import Run, TurnRequest
from coordsvc.core.trace import TraceContext
from coordsvc.core.units import Instant

SERVICE = "coordsvc"
CLIENT_GONE = "client_gone"
"""The `error.type` of a turn whose client left."""
Value = str | bool | int | float | tuple[str, ...]
Kind = Literal["server", "client"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened within a span."""

    name: str
    at: Instant
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span; instants are the ingress's."""

    name: str
    kind: Kind
    span_id: int
    parent_id: int | None
    started: Instant
    ended: Instant
    attributes: Mapping[str, Value]
    events: tuple[SpanEvent, ...] = ()
    links: tuple[int, ...] = ()
    """Spans of the same trace that this one came out of."""
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a service's spans say of it."""

    model: str
    """As clients name it."""
    engine_model: str
    engine: str
    """Its kind."""
    text_chars_max: int = 0
    """Characters of each message that a span may repeat; 0 repeats nothing that anybody said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBroken:
    """A phase that came to no end."""

    run: Run
    started: Instant
    ended: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTold:
    """A turn that is over, one way or another, for its trace."""

    context: TraceContext
    turn_id: str
    arrived: Instant
    ended: Instant
    """Of an answered turn, W after its arrival: waiting for a slow client is not in it."""
    request: TurnRequest | None = None
    """None if it never came so far."""
    spans: tuple[PhaseSpan, ...] = ()
    """The phases before the reply; the last one is what the reply came out of."""
    result: TurnResult | None = None
    broken: PhaseBroken | None = None
    error: str = ""
    """What it failed with; empty if it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTold:
    """A check after the reply, for its turn's trace."""

    context: TraceContext
    number: int
    """Which of the turn's phases it is; the one before it spoke the reply."""
    span: PhaseSpan | None = None
    broken: PhaseBroken | None = None
    error: str = ""
