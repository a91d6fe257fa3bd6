"""Which of the offers in hand a phase takes: what speaks for each of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import Instant, NodeId, TurnId

NOTHING, CACHED, NEAR, MEANT = range(4)
"""What speaks for an offer, the later the more."""


@dataclass(frozen=True, slots=True)
class Held:
    """An offer in hand. `use` is how many phases have run under it."""

    grant: Grant
    lapses: Instant
    attributes: Mapping[str, str]
    cached: frozenset[str] = frozenset()
    meant_for: TurnId | None = None
    once: bool = False
    """Part of a gang: nothing else runs under it afterwards."""


def most_liked(
    in_hand: Iterable[Held],
    enough: Resources,
    turn: TurnId | None,
    prefer: NodeId | None,
    prefix: str,
) -> Held | None:
    """Return the offer for which most speaks; the first one for which nothing can speak more."""
    most_possible = _liking_at_most(turn, prefer, prefix)
    best: Held | None = None
    most = NOTHING - 1
    for held in in_hand:
        if held.grant.bundle.covers(enough):
            speaks = liking(held, turn, prefer, prefix)
            if speaks == most_possible:
                return held
            if speaks > most:
                best, most = held, speaks
    return best


def liking(held: Held, turn: TurnId | None, prefer: NodeId | None, prefix: str) -> int:
    """Return what speaks most for an offer: its turn, before its node, before what is cached."""
    if turn is not None and held.meant_for == turn:
        return MEANT
    if prefer is not None and held.grant.node == prefer:
        return NEAR
    return CACHED if prefix and prefix in held.cached else NOTHING


def _liking_at_most(turn: TurnId | None, prefer: NodeId | None, prefix: str) -> int:
    if turn is not None:
        return MEANT
    if prefer is not None:
        return NEAR
    return CACHED if prefix else NOTHING
