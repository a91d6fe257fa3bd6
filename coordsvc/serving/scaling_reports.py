"""What an ingress replica counts for autoscaling, beside telling it to the instruments."""

from coordsvc.core.accounting import PhaseReport, TurnResult
from coordsvc.core.errors import CoordinationError
from coordsvc.core.scaling_report import TurnSums
from coordsvc.ports import TurnRecorder


class SummedTurns:
    """A `TurnRecorder` that adds up what passes it by."""

    def __init__(self, inside: TurnRecorder) -> None:
        self.sums = TurnSums()
        self._inside = inside

    def answered(self, result: TurnResult) -> None:
        """Count a turn whose reply has been handed over."""
        self.sums.turn(result.account)
        self._inside.answered(result)

    def checked_late(self, phases: tuple[PhaseReport, ...]) -> None:
        """Pass on a check after the reply; no user waited for it."""
        self._inside.checked_late(phases)

    def check_lost(self, turn_id: str, error: CoordinationError) -> None:
        """Pass on that a check after the reply could not be run."""
        self._inside.check_lost(turn_id, error)
