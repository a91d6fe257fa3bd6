"""C_baseline of a turn: what its phases take one process, one after another, on one accelerator.

The process has the engine for itself, so each phase runs at batch 1. It keeps its prefix cache, so
what an earlier phase of the turn has read need not be read again: a baseline that reads everything
anew would be longer, and S_measured would look better than it is.

A baseline is measured by `coordsvc calibrate`: the solo profile of that engine, and for each phase
the ratio of measured over predicted time, which has in it what the profile leaves out (a checker's
grammar, say, or the agent's own work). It holds for the machine and the engine of its fingerprint.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coordsvc.core.accounting import PhaseReport
from coordsvc.core.dialogue import Phase
from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import Micros

Fingerprint = Mapping[str, str]
"""What a measurement was taken on: each fact under its name."""
ABSENT = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBaseline:
    """What one kind of phase was found to take, alone."""

    measured_us: Micros
    """On average."""
    ratio: float | None
    """Measured over predicted. None where the profile predicts no time at all: a script's."""

    def of(self, predicted_us: Micros) -> Micros:
        """Return what a phase takes for which the profile predicts `predicted_us`."""
        return self.measured_us if self.ratio is None else Micros(round(predicted_us * self.ratio))


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A measured baseline."""

    profile: SoloProfile
    """As it was when the ratios were measured: a profile fitted at another start is another one."""
    phases: Mapping[Phase, PhaseBaseline]
    usual: PhaseBaseline
    """All phases together: for a kind that was not seen often enough."""
    fingerprint: Fingerprint
    emulated: bool = False
    """True when the engine's timing was declared: such a baseline says nothing of any machine."""


def baseline_us(phases: Sequence[PhaseReport], baseline: Baseline | None) -> Micros:
    """Return C_baseline of a turn that ran these phases in this order.

    Without a baseline it is the engines' own prediction, `solo_us`, which is never more than the
    time that a phase really took.
    """
    if baseline is None:
        return Micros(sum(report.solo_us for report in phases))
    predicted = predictions(phases, baseline.profile)
    return Micros(
        sum(
            baseline.phases.get(report.phase, baseline.usual).of(alone_us)
            for report, alone_us in zip(phases, predicted, strict=True)
        )
    )


def predictions(phases: Sequence[PhaseReport], profile: SoloProfile) -> Iterator[Micros]:
    """Yield what `profile` predicts for each phase of a turn, run one after another alone.

    Cached is what was found so, and at least what an earlier phase of the turn has left under the
    same adapter: a single process has one cache for each.
    """
    warm: dict[str, int] = {}
    for report in phases:
        left = warm.get(report.adapter, 0)
        cached = min(max(report.cached_tokens, left), report.prompt_tokens)
        yield profile.predict(report.prompt_tokens - cached, report.output_tokens)
        warm[report.adapter] = max(left, report.shared_tokens)


def differences(measured_on: Fingerprint, here: Fingerprint) -> tuple[str, ...]:
    """Return in words each fact in which two fingerprints differ, in the order of names."""
    return tuple(
        f"{name}: {measured_on.get(name, ABSENT)} there, {here.get(name, ABSENT)} here"
        for name in sorted({*measured_on, *here})
        if measured_on.get(name) != here.get(name)
    )
