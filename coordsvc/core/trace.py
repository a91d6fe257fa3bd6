"""A turn's place in a W3C trace, and which turns are traced at all.

Whether a turn is traced is decided once, at its head, by what its client decided or by its trace
id. Everything later asks one question: is there a context?
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

TRACE_BITS, SPAN_BITS = 128, 64
LOW_BITS = (1 << SPAN_BITS) - 1
"""OpenTelemetry's `TraceIdRatioBased` looks at the lower half of a trace id; so do we, and then
every service on the way takes the same turns."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The ids that a traced turn was given by its door, and by its client."""

    trace_id: int
    span_id: int
    """The turn's own span: the one that the response's `traceparent` names."""
    parent_id: int | None = None
    """The client's span; None if it sent none."""

    def child(self, number: int) -> int:
        """Return the id of the turn's `number`-th inner span; never 0, which means none.

        It follows from the turn's own, so that what is told later can point at what was told
        before, and nobody has to remember it.
        """
        seed = self.trace_id.to_bytes(TRACE_BITS // 8) + self.span_id.to_bytes(SPAN_BITS // 8)
        digest = blake2b(seed + number.to_bytes(4), digest_size=SPAN_BITS // 8)
        return int.from_bytes(digest.digest()) or 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which turns are traced: OpenTelemetry's `parentbased_traceidratio`, or `traceidratio`."""

    bound: int
    """Trace ids whose lower half is below it are traced."""
    heeds_parent: bool = True
    """Whether a client's own decision stands."""

    @classmethod
    def of(cls, ratio: float, *, heeds_parent: bool = True) -> Self:
        """Return the sampling of this share of turns, from 0 to 1."""
        return cls(round(ratio * (LOW_BITS + 1)), heeds_parent)

    def takes(self, trace_id: int, parent: bool | None) -> bool:  # noqa: FBT001 - a flag of the wire
        """Tell whether a turn is traced; `parent` is its client's decision, None if it has none."""
        if parent is not None and self.heeds_parent:
            return parent
        return trace_id & LOW_BITS < self.bound
