"""The oldest dialogue turn first, wherever its next phase waits.

First come, first served, of whole turns instead of phases: a turn keeps its place when it goes from
one agent to the next. So a turn that has begun is not overtaken by one that begins, and the turns
under way stay few. It needs to know nothing but when turns arrived.
"""

from coordsvc.core.policies import Key, Ordering
from coordsvc.core.waits import Wait


class OldestFirst(Ordering):
    """Serves the phase whose turn arrived first."""

    def urgency(self, wait: Wait) -> Key:
        """Return when the turn arrived, and its name where equal."""
        return (wait.arrived, wait.turn)
