"""Who asks: the request id and the trace context, taken from headers that anyone may forge."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from coordsvc.core.trace import Sampling, TraceContext

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""Sane ids: no blanks, quotes or line ends, so an echoed one cannot smuggle in a header."""

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
"""W3C Trace Context, section 3.2: lower case; later versions may append fields."""
_SAMPLED = 0x01
"""Of the flags, the bit that says that spans are recorded."""


@dataclass(slots=True, kw_only=True)
class Names:
    """What one request is called, and its turn if it becomes one."""

    request_id: bytes
    trace_id: bytes
    span_id: bytes
    flags: bytes
    turn_id: str
    """Ours, never the client's; the trace shares its 128 random bits if the client brought none."""
    parent_id: bytes = b""
    """The client's span, if it sent one."""
    sampled: bool = False
    """Whether the turn is traced; `flags` say the same to the client."""
    is_turn: bool = False
    """Whether a turn was begun, so that the response names it."""

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]], sampling: Sampling | None = None) -> Self:
        """Return the request's names; whatever is malformed counts as absent.

        Without `sampling` nothing is traced, and a client's flags are handed back as they came.
        """
        request_id, traceparent = b"", b""
        for name, value in headers:
            if name == b"x-request-id":
                request_id = request_id or value
            elif name == b"traceparent":
                traceparent = traceparent or value
        own = secrets.token_hex(16)
        trace_id, parent_id, flags = _parent(traceparent) or (own.encode(), b"", b"00")
        sampled = False
        if sampling is not None:
            bits = int(flags, 16)
            parent = bool(bits & _SAMPLED) if parent_id else None
            sampled = sampling.takes(int(trace_id, 16), parent)
            flags = b"%02x" % (bits & ~_SAMPLED | sampled)
        return cls(
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else b"req-" + own.encode(),
            trace_id=trace_id,
            span_id=secrets.token_hex(8).encode(),
            flags=flags,
            parent_id=parent_id,
            sampled=sampled,
            turn_id=f"turn-{own}",
        )

    def trace(self) -> TraceContext | None:
        """Return where the turn's trace begins; None if it is not traced."""
        if not self.sampled:
            return None
        parent_id = int(self.parent_id, 16) if self.parent_id else None
        return TraceContext(int(self.trace_id, 16), int(self.span_id, 16), parent_id)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the response headers that carry the names; the span in them is the door's."""
        trace = b"00-%b-%b-%b" % (self.trace_id, self.span_id, self.flags)
        named = [(b"x-request-id", self.request_id), (b"traceparent", trace)]
        if self.is_turn:
            named.append((b"x-turn-id", self.turn_id.encode()))
        return named


def _parent(value: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return the trace id, span id and flags of a valid `traceparent`, else None."""
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    void = not trace_id.strip(b"0") or not parent_id.strip(b"0")
    if void or version == b"ff" or (version == b"00" and more is not None):
        return None
    return trace_id, parent_id, flags
