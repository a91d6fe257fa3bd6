"""What phases cost, as far as anybody knows: a running mean of engine time for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordsvc.core.dialogue import CHECKER, Phase, Rules
from coordsvc.core.units import Micros

NEWS = 8
"""One new cost counts an eighth: some tens of phases to forget a change, and no jitter."""
FOLLOWS: Mapping[Phase, Phase] = {
    Phase.PLAN: Phase.RESPOND,
    Phase.RESPOND: Phase.CHECK,
    Phase.REVISE: Phase.CHECK,
}
"""What usually comes next: a revision is the exception."""


@dataclass(slots=True)
class PhaseCosts:
    """Running means, in microseconds of engine time."""

    means: dict[Phase, Micros] = field(default_factory=dict)

    def took(self, phase: Phase, compute_us: Micros) -> None:
        """Take note of what a phase has cost."""
        before = self.means.get(phase, compute_us)
        self.means[phase] = Micros(before + (compute_us - before) // NEWS)

    def of(self, phase: Phase) -> Micros:
        """Return what the phase is expected to cost; 0 before the first."""
        return self.means.get(phase, Micros(0))

    def rest(self, phase: Phase, rules: Rules) -> Micros:
        """Return what a turn that comes to `phase` is expected to cost from there on."""
        total, after = 0, phase
        while True:
            total += self.of(after)
            following = FOLLOWS.get(after)
            if following is None or (following is Phase.CHECK and CHECKER not in rules.agents):
                return Micros(total)
            after = following
