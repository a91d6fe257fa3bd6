"""One turn under way, as its conductor keeps it."""

from dataclasses import dataclass, field

from coordsvc.core.accounting import PhaseDone, PhaseSpan
from coordsvc.core.dialogue import Run, TurnRequest
from coordsvc.core.units import Instant, Micros


@dataclass(slots=True)
class Turn:
    """One turn under way."""

    request: TurnRequest
    arrived: Instant
    deadline: Instant
    ingress_us: Micros
    prefix_key: str
    spans: list[PhaseSpan] = field(default_factory=list)
    done: PhaseDone | None = None
    """The phase that has just ended."""
    spoke: PhaseDone | None = None
    """The phase whose text may become the reply."""
    doing: tuple[Run, Instant] | None = None
    """The phase under way, and when it began."""
    replied: int = 0
    """How many phases there were before the reply."""
