"""How the picture looks in a terminal: every figure, and nothing where there is no value."""

import io
from typing import Any

import pytest
from rich.console import Console

from coordsvc.cli.picture import Picture
from coordsvc.cli.top_view import nothing_yet, view
from tests.unit.cli.test_picture import seen

URL = "http://127.0.0.1:9464/metrics"


def printed(what: Any, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    return console.file.getvalue()


@pytest.fixture
def told() -> Picture:
    return seen(210, 460, 210, 460)


def test_every_part_of_the_picture_is_shown(told: Picture) -> None:
    said = printed(view(told, URL))
    for words in (
        "planner+responder",
        "490.0 ms",
        "50.0% took over 250.0 ms",
        "warning; change, margin speak; C_coord crosses its bound in 40 s",
        "offer_wait",
        "computing",
        "60.0%",
        "S_measured",
        "2.50 / -",
        "released",
        "engines wanted",
        "3 of 1 to 4",
        "utility",
        "broken reservations",
    ):
        assert words in said, words


def test_parts_are_bars_the_largest_first(told: Picture) -> None:
    told["c_coord_parts_s"] = {"call": 0.1, "offer_wait": 0.4, "retry": 0.0}
    lines = printed(view(told, URL)).splitlines()
    waited, called = (next(n for n in lines if part in n) for part in ("offer_wait", "call "))
    assert lines.index(waited) < lines.index(called)
    assert waited.count("█") - called.count("█") > 10
    assert not any("retry" in line for line in lines)


def test_where_nobody_talks_it_says_so_and_shows_no_zeros() -> None:
    said = printed(view(seen(more="a 1\n"), URL))
    assert "nobody talks" in said
    assert "calm" in said
    assert "nan" not in said.lower()


def test_a_service_that_is_away_is_said_to_be_beside_what_was(told: Picture) -> None:
    said = printed(view(told, URL, away="nobody answers"))
    assert "AWAY: nobody answers" in said
    assert "offer_wait" in said
    assert "AWAY: nobody answers" in printed(nothing_yet(URL, "nobody answers"))


def test_before_two_readings_it_says_what_it_reads() -> None:
    assert f"reading {URL}" in printed(nothing_yet(URL, None))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_any_terminal(told: Picture, width: int) -> None:
    assert max(map(len, printed(view(told, URL), width).splitlines())) <= width
