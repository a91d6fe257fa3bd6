"""How a turn's account looks in a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from coordsvc.cli import show
from coordsvc.core.accounting import PARTS

PARTS_S = dict.fromkeys(PARTS, 0.0) | {
    "offer_wait": 0.004,
    "call": 0.012,
    "engine_queue": 0.030,
    "agent": 0.001,
    "ingress": 0.00001,
}


def account(**changes: Any) -> dict[str, Any]:
    phase = {
        "phase": "respond",
        "agent": "responder",
        "node": "n1",
        "prompt_tokens": 40,
        "cached_tokens": 25,
        "output_tokens": 4,
        "queue_s": 0.01,
        "compute_s": 0.09,
        "offer_wait_s": 0.004,
    }
    usual = {
        "wall_s": 0.247,
        "solo_s": 0.2,
        "c_coord_s": 0.047,
        "parts_s": PARTS_S,
        "phases": [phase, {**phase, "node": None}],
    }
    return usual | changes


def printed(what: Any) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(what)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("amount_s", "said"),
    [
        (0.0, "0.0 ms"),
        (0.00004, "0.0 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999.4 ms"),
        (1.0, "1.00 s"),
        (1234.5, "1,234.50 s"),
    ],
)
def test_an_amount_of_time_as_people_read_it(amount_s: float, said: str) -> None:
    assert show.milliseconds(amount_s) == said


def test_one_line_tells_the_whole_and_the_largest_parts() -> None:
    assert show.one_line(account()).plain == (
        "247.0 ms = compute 200.0 ms + C_coord 47.0 ms "
        "(engine_queue 30.0 ms, call 12.0 ms, offer_wait 4.0 ms)"
    )


def test_parts_too_small_to_show_are_left_out() -> None:
    small = account(parts_s=dict.fromkeys(PARTS, 0.0) | {"ingress": 0.00004})
    assert show.one_line(small).plain.endswith("C_coord 47.0 ms")


def test_the_table_has_every_part_with_its_share_and_what_it_is() -> None:
    said = printed(show.table(account()))
    for part in PARTS:
        assert part in said
    (queue,) = [line for line in said.splitlines() if "engine_queue" in line]
    assert "30.0 ms" in queue
    assert "12.1%" in queue
    assert "waiting inside the engine" in queue
    assert "C_coord is 47.0 ms of it" in said


def test_the_table_has_every_phase() -> None:
    said = printed(show.table(account()))
    first, second = (line for line in said.splitlines() if "respond " in line)
    for seen in ("responder", "n1", "40 (25)", "100.0 ms", "4.0 ms"):
        assert seen in first
    assert "n1" not in second


def test_a_turn_of_no_time_has_no_shares() -> None:
    assert "%" not in printed(show.table(account(wall_s=0.0)))


def test_a_part_that_this_version_does_not_know_is_shown_all_the_same() -> None:
    newer = account(parts_s={**PARTS_S, "telepathy": 0.5})
    assert "telepathy" in printed(show.table(newer))


def test_long_steps_say_since_when() -> None:
    now = 100.0
    console = Console(file=io.StringIO(), width=80, color_system=None, get_time=lambda: now)
    say = show.steps(console)
    now = 112.5
    say("the engine is loading")
    assert console.file.getvalue() == "  12.5 s  the engine is loading\n"


def test_a_step_is_told_as_it_is_and_a_path_stays_in_one_piece() -> None:
    out = io.StringIO()
    say = show.steps(Console(file=out, width=40))
    say("failed: pip install 'coordsvc[experiments]' [/] " + "/deep" * 20)
    assert out.getvalue().rstrip("\n").endswith("'coordsvc[experiments]' [/] " + "/deep" * 20)
    assert out.getvalue().count("\n") == 1
