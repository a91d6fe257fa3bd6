"""What deaths under load came to: which turns they touched, and how each of those ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from coordsvc.bench.turns import Told

AGENT, ENGINE, ALLOCATOR = "agent", "engine", "allocator"
KINDS = (AGENT, ENGINE, ALLOCATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One process ended without warning; instants are on the clock of the clients."""

    kind: str
    at_s: float
    recovered_s: float
    """When another one had taken its place."""

    @property
    def took_s(self) -> float:
        """How long its place was empty."""
        return self.recovered_s - self.at_s

    def touches(self, told: Told) -> bool:
        """Tell whether any of the turn lay between the death and the recovery."""
        ended = inf if told.ended_s is None else told.ended_s
        return told.asked_s < self.recovered_s and ended > self.at_s

    def broke_midway(self, told: Told) -> bool:
        """Tell whether it took a half-told reply's teller away: the turn's own account says so."""
        return self.kind != ALLOCATOR and told.midway(self.at_s) and told.attempts_lost


def killed(deaths: Iterable[Death]) -> dict[str, int]:
    """Return how many of each kind died."""
    count = dict.fromkeys(KINDS, 0)
    for death in deaths:
        count[death.kind] += 1
    return count


def broken_midway(deaths: Iterable[Death], turns: Sequence[Told]) -> dict[int, list[Told]]:
    """Return for each death, by its number, the half-told replies that it broke, if any."""
    broken = {
        number: [told for told in turns if death.broke_midway(told)]
        for number, death in enumerate(deaths)
    }
    return {number: found for number, found in broken.items() if found}


def slowest(deaths: Iterable[Death], turns: Sequence[Told], kind: str) -> Told | None:
    """Return the slowest turn that a death of this kind touched; None if none was."""
    touched = (
        told for death in deaths if death.kind == kind for told in turns if death.touches(told)
    )
    return max(touched, key=lambda told: told.latency_s, default=None)


def undisturbed_s(deaths: Sequence[Death], turns: Sequence[Told]) -> float:
    """Return how long the slowest turn took that no death touched: this machine's own noise."""
    quiet = (told for told in turns if not any(death.touches(told) for death in deaths))
    return max((told.latency_s for told in quiet), default=0.0)


def recovery_s(deaths: Iterable[Death], kind: str) -> float:
    """Return the longest recovery from a death of this kind; 0.0 of none."""
    return max((death.took_s for death in deaths if death.kind == kind), default=0.0)
