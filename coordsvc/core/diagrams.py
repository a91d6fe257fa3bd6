"""The tables of legal moves, drawn as Mermaid state diagrams. README.md beside this shows them."""

from collections.abc import Iterable

from coordsvc.core.dialogue import MOVES
from coordsvc.core.offers import FIRST, TRANSITIONS

DOT = "[*]"
"""Mermaid's sign for where a life begins, and for where it ends."""


def offer_states() -> str:
    """Return the life of an offer, in the order of its states; ends lead to the dot."""
    order = list(TRANSITIONS)
    moves = [(DOT, state.name) for state in FIRST]
    for state, onward in TRANSITIONS.items():
        moves += [(state.name, follow.name) for follow in sorted(onward, key=order.index)]
        moves += [] if onward else [(state.name, DOT)]
    return _draw(moves)


def dialogue_moves() -> str:
    """Return the phases of a turn, in their order; the end of the turn is the dot."""
    order = [*MOVES, None]
    moves = [(DOT, next(iter(MOVES)).value)]
    for phase, onward in MOVES.items():
        ends = sorted(onward, key=order.index)
        moves += [(phase.value, DOT if end is None else end.value) for end in ends]
    return _draw(moves)


def _draw(moves: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["stateDiagram-v2", *(f"    {start} --> {end}" for start, end in moves)])
