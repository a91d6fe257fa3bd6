"""Windows: what follows from one, and what is wrong with one."""

from dataclasses import replace
from math import inf, nan

import pytest

from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.core.window import Window

ONE = Window(
    began=Instant(0),
    lasts_us=Micros(10 * SECOND),
    turns=40,
    concurrency=6.0,
    c_coord_us=100_000.0,
    c_baseline_us=1_000_000.0,
    s_scale=3.0,
    accelerators=4.0,
    offers_made=150,
    offers_accepted=140,
    retries=20,
)


def test_what_follows_from_a_window() -> None:
    assert ONE.throughput == 4.0
    assert ONE.s_measured == 4.0
    assert ONE.load == 0.75
    assert ONE.tasks == 120
    assert ONE.flaw() is None


def test_without_turns_there_is_no_value_and_no_flaw() -> None:
    empty = Window(began=Instant(0), lasts_us=Micros(SECOND), turns=0, concurrency=0.0)
    assert (empty.s_measured, empty.load, empty.flaw()) == (None, None, None)
    assert (empty.throughput, empty.tasks) == (0.0, 0)
    assert replace(ONE, accelerators=0.0).load is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"lasts_us": 0}, "the window lasts 0 us"),
        ({"lasts_us": -5}, "the window lasts -5 us"),
        ({"turns": -1}, "a count is below 0"),
        ({"retries": -1}, "a count is below 0"),
        ({"concurrency": nan}, "a mean is below 0, or no number"),
        ({"c_coord_us": inf}, "a mean is below 0, or no number"),
        ({"s_scale": -0.1}, "a mean is below 0, or no number"),
        ({"p95_us": nan}, "a mean is below 0, or no number"),
    ],
)
def test_a_flaw_is_named(changed: dict[str, float], told: str) -> None:
    assert replace(ONE, **changed).flaw() == told
