"""What deaths under load came to: which turns they touched, and how each of those ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from coordsvc.bench.turns import Told

AGENT, ENGINE, ALLOCATOR = "agent", "engine", "allocator"
KINDS = (AGENT, ENGINE, ALLOCATOR)
WRONG_TOLD_MAX = 10
LONG_S = 0.02
"""A part of a slow turn's account that is worth telling."""


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


def summary(deaths: Sequence[Death], turns: Sequence[Told]) -> dict[str, object]:
    """Return what the deaths did to the turns."""
    wrong = [told for told in turns if not told.right]
    broken = broken_midway(deaths, turns)
    return {
        "turns": len(turns),
        "lost": len(wrong),
        "killed": killed(deaths),
        "killed_mid_stream": len(broken),
        "continued_from_prefix": sum(told.right for found in broken.values() for told in found),
        "broken_mid_stream": sum(len(found) for found in broken.values()),
        "allocator_recovery_s": round(recovery_s(deaths, ALLOCATOR), 3),
        "agent_recovery_s": round(recovery_s(deaths, AGENT), 3),
        "engine_recovery_s": round(recovery_s(deaths, ENGINE), 3),
        **_told_slow("slowest_turn", slowest(deaths, turns, ALLOCATOR)),
        **_told_slow("slowest_turn_agent", slowest(deaths, turns, AGENT)),
        **_told_slow("slowest_turn_engine", slowest(deaths, turns, ENGINE)),
        "slowest_turn_undisturbed_s": round(undisturbed_s(deaths, turns), 3),
        "wrong": [_shown(told) for told in wrong[:WRONG_TOLD_MAX]],
    }


def _told_slow(name: str, told: Told | None) -> dict[str, object]:
    """Return how long the turn took, and the parts of its account that were long."""
    if told is None:
        return {f"{name}_s": 0.0}
    parts = told.extra.get("account", {}).get("parts_s", {})
    return {
        f"{name}_s": round(told.latency_s, 3),
        f"{name}_parts_s": {part: round(s, 3) for part, s in parts.items() if s > LONG_S},
    }


def _shown(told: Told) -> dict[str, object]:
    return {
        "status": told.status,
        "fault": told.fault,
        "text": told.text,
        "expected": told.question.expected,
        "latency_s": round(told.latency_s, 3),
    }
