"""What is known of an agent whose utility is learned: kept by load and by phase.

An agent's phases are not alike (a first draft, a revision), and how often each comes may change
from one minute to the next. Its utility is one: how many bundles it has is decided, not for which
phase. So what was seen is kept by phase, and put together by the phases' recent mix m: a bundle
yields

    q(n) = sum_p m_p E[v | p] / sum_p m_p E[d | p, n].

Averaged over phases beforehand, it would follow a mix that moves only as fast as it forgets.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from coordsvc.core.concave import NOTHING, Fit, Sums
from coordsvc.core.units import Instant

FADED = 1e-3
"""What counts less than a thousandth of a grant is forgotten."""

ANYWHERE = 1.0
"""Grants that a phase's average over all numbers of bundles counts for at each of them: one, as a
guess does. It stands in where the phase was not seen with so many."""

NO_PHASE = ""
"""The phase of a grant of which nobody told it: most often one that its engine spoke of first."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was seen of an agent under one load."""

    windows: float = 0.0
    at: dict[int, Sums] = field(default_factory=dict)
    """By place on the grid, of grants of no phase."""
    by_phase: dict[str, dict[int, Sums]] = field(default_factory=dict)
    """The same, of grants of each phase."""

    def phases(self) -> Iterator[tuple[str, dict[int, Sums]]]:
        """Yield what was seen of each phase, by place on the grid."""
        yield NO_PHASE, self.at
        yield from self.by_phase.items()

    def fade(self, keep: float) -> None:
        """Let all of it count `keep` times, and forget what has faded."""
        self.windows *= keep
        for phase, at in list(self.phases()):
            for place, sums in list(at.items()):
                sums.scale(keep)
                if sums.count < FADED:
                    del at[place]
            if phase and not at:
                del self.by_phase[phase]

    def book(
        self, ends: Mapping[str, Sums], beside: Iterable[tuple[int, float]], phases_max: int
    ) -> None:
        """Count one window: what ended of each phase, shared between places on the grid."""
        self.windows += 1
        for place, part in beside:
            for phase, sums in ends.items():
                known = _bounded(phase, self.by_phase, phases_max)
                at = self.by_phase.setdefault(known, {}) if known else self.at
                at.setdefault(place, Sums()).add(sums, part)


@dataclass(slots=True, kw_only=True)
class Student:
    """An agent, and what is known of it."""

    held: int = 0
    held_us: int = 0
    """Bundles held, times microseconds, in this window."""
    ends: Sums = field(default_factory=Sums)
    """Of the grants of no phase that ended in this window."""
    ends_by_phase: dict[str, Sums] = field(default_factory=dict)
    """The same, of each phase."""
    arrived: int = 0
    told: bool = False
    """Whether an arrival was ever told."""
    mean_held: float = 0.0
    mean_busy: float = 0.0
    mean_arrivals: float = 0.0
    """A second; smoothed over windows, as the two above."""
    windows: int = 0
    """That had ended grants."""
    seen: dict[int, Seen] = field(default_factory=dict)
    """By load."""
    mix: dict[str, float] = field(default_factory=dict)
    """By phase: ended grants, those longer ago counting less."""
    prior: list[float] = field(default_factory=list)
    """The hand-set utility at the points of the grid, as far as it was needed."""
    height: float = 1.0
    """What was seen, as a multiple of the hand-set utility."""
    fitted: Instant | None = None
    fit: Fit = NOTHING
    ceiling: float = float("inf")
    """What the load can yield at most."""
    load_fitted: float = 0.0
    """Arrivals a second, as they were at the last fit."""

    def ended(self, phase: str, worth: float, held_s: float, phases_max: int) -> None:
        """Count a grant that ended in this window; of phases beyond the most, as of none."""
        known = _bounded(phase, self.ends_by_phase, phases_max)
        sums = self.ends_by_phase.setdefault(known, Sums()) if known else self.ends
        sums.take(worth, held_s)

    def window(self) -> dict[str, Sums]:
        """Return what ended in this window, by phase."""
        told = {NO_PHASE: self.ends, **self.ends_by_phase}
        return {phase: sums for phase, sums in told.items() if sums.count}

    def mixed(self, ends: Mapping[str, Sums], half_life: int, phases_max: int) -> None:
        """Count into the mix what ended; every `half_life` grants, what was before counts half."""
        keep = 0.5 ** (sum(sums.count for sums in ends.values()) / half_life)
        self.mix = {phase: kept for phase, n in self.mix.items() if (kept := n * keep) >= FADED}
        for phase, sums in ends.items():
            known = _bounded(phase, self.mix.keys() - {NO_PHASE}, phases_max)
            self.mix[known] = self.mix.get(known, 0.0) + sums.count


def blend(seen: Mapping[str, Mapping[int, Sums]], mix: Mapping[str, float]) -> Mapping[int, Sums]:
    """Return by place on the grid what would have been seen, had phases come in this `mix`.

    It counts for no more grants than were seen there, and for fewer where a phase that matters was
    seen less than its part (the variance of a stratified sample's mean: Cochran, section 5.3).
    """
    seen = {phase: at for phase, at in seen.items() if at}
    if len(seen) == 1:
        return next(iter(seen.values()))
    parts = {phase: mix[phase] for phase in seen if mix.get(phase)} or _counts(seen)
    means = {phase: _mean(seen[phase].values()) for phase in parts}
    whole = sum(parts.values())
    blended: dict[int, Sums] = {}
    for place in sorted({place for phase in parts for place in seen[phase]}):
        there, variance, mean = 0.0, 0.0, Sums()
        for phase, part in parts.items():
            own = Sums()
            if place in seen[phase]:
                own.add(seen[phase][place])
            there += own.count
            own.add(means[phase], ANYWHERE)
            weight = part / whole
            mean.add(own, weight / own.count)
            variance += weight * weight / own.count
        mean.scale(min(there, 1 / variance))
        blended[place] = mean
    return blended


def _bounded(phase: str, known: Collection[str], most: int) -> str:
    """Return the phase; of one too many, no phase, so that a flood of names takes no room."""
    return phase if phase in known or len(known) < most else NO_PHASE


def _counts(seen: Mapping[str, Mapping[int, Sums]]) -> dict[str, float]:
    return {phase: sum(sums.count for sums in at.values()) for phase, at in seen.items()}


def _mean(some: Iterable[Sums]) -> Sums:
    """Return what one grant of these came to on average."""
    total = Sums()
    for sums in some:
        total.add(sums)
    total.scale(1 / total.count)
    return total
