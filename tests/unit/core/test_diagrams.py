"""The diagrams are the tables, and the README beside the core shows these diagrams."""

import re
from pathlib import Path

import pytest

from coordsvc.core import diagrams
from coordsvc.core.dialogue import MOVES
from coordsvc.core.offers import TRANSITIONS

README = Path(diagrams.__file__).with_name("README.md")
DRAWN = {"offer-states": diagrams.offer_states(), "dialogue-moves": diagrams.dialogue_moves()}


def arrows(diagram: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^    (\S+) --> (\S+)$", diagram, re.MULTILINE))


@pytest.mark.parametrize("name", DRAWN)
def test_the_readme_shows_what_the_table_says(name: str) -> None:
    shown = README.read_text().split(f"<!-- {name}:begin -->\n")[1]
    shown = shown.split(f"<!-- {name}:end -->")[0]
    assert shown == f"```mermaid\n{DRAWN[name]}\n```\n", "copy what coordsvc.core.diagrams returns"


def test_every_move_of_an_offer_is_drawn_and_no_other() -> None:
    moves = {(start.name, end.name) for start, ends in TRANSITIONS.items() for end in ends}
    over = {(state.name, "[*]") for state, ends in TRANSITIONS.items() if not ends}
    made = {("[*]", "GATHERED"), ("[*]", "ISSUED")}
    assert arrows(DRAWN["offer-states"]) == {*made, *moves, *over}


def test_every_move_of_a_turn_is_drawn_and_no_other() -> None:
    moves = {(start.value, end.value if end else "[*]") for start in MOVES for end in MOVES[start]}
    assert arrows(DRAWN["dialogue-moves"]) == {("[*]", "plan"), *moves}
