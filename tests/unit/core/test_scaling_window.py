"""The window: differences of sums, heard on one clock, of a pool of one size."""

from math import inf, nan

import pytest

from coordsvc.core.scaling_report import ALIVE, BUSY, C_COORD, PHASES, REPORTS, TURNS, part_key
from coordsvc.core.scaling_window import Window
from coordsvc.core.units import SECOND, Instant, Micros

LASTS = Micros(10 * SECOND)


def at(seconds: float) -> Instant:
    return Instant(round(seconds * SECOND))


def turns(told: int, count: int, c_coord_s: float = 0.0, **parts_s: float) -> dict[str, float]:
    parts = {part_key(part): spent * SECOND for part, spent in parts_s.items()}
    return {REPORTS: told, TURNS: count, C_COORD: c_coord_s * SECOND, **parts}


def heard(*reports: dict[str, float]) -> Window:
    """One replica's reports, one a second."""
    window = Window(at(0))
    for second, report in enumerate(reports):
        window = window.told(at(second), {"i1": report}, LASTS)
    return window


def test_the_mean_is_over_all_turns_of_the_window_not_the_last_report() -> None:
    """One turn of 9 s and nine of nothing: a mean of 0.9 s, whatever came last."""
    window = heard(turns(1, 0), turns(2, 1, 9.0), turns(3, 10, 9.0))
    assert window.seen(at(3), LASTS).c_coord_us == pytest.approx(0.9 * SECOND)


def test_what_a_replica_had_counted_before_it_was_first_heard_is_not_of_this_window() -> None:
    seen = heard(turns(1, 1_000, 9_000.0), turns(2, 1_002, 9_001.0)).seen(at(3), LASTS)
    assert seen.c_coord_us == pytest.approx(0.5 * SECOND)


def test_a_report_told_twice_counts_once_and_a_lost_one_costs_nothing() -> None:
    window = heard(turns(1, 0), turns(2, 1, 1.0), turns(2, 1, 1.0), turns(5, 4, 1.0))
    assert window.seen(at(4), LASTS).c_coord_us == pytest.approx(0.25 * SECOND)


def test_replicas_are_added_up() -> None:
    window = Window(at(0))
    window = window.told(at(0), {"i1": turns(1, 0), "i2": turns(1, 0)}, LASTS)
    window = window.told(at(1), {"i1": turns(2, 3, 0.0), "i2": turns(2, 1, 4.0)}, LASTS)
    assert window.seen(at(1), LASTS).c_coord_us == SECOND


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = heard(turns(1, 0), turns(2, 1, 9.0))
    assert window.told(at(10.9), {}, LASTS).seen(at(10.9), LASTS).c_coord_us == 9 * SECOND
    assert window.told(at(11), {}, LASTS).seen(at(11), LASTS).c_coord_us is None


def test_without_a_turn_there_is_no_mean() -> None:
    seen = heard(turns(1, 5), turns(2, 5)).seen(at(2), LASTS)
    assert seen.c_coord_us is None
    assert seen.capacity_us == 0
    assert seen.utilisation is None
    assert seen.demand(3) is None


@pytest.mark.parametrize("bad", [nan, inf, -inf, 1e300])
def test_a_report_with_what_is_no_number_is_none(bad: float) -> None:
    window = heard(turns(1, 0), {**turns(2, 1, 1.0), C_COORD: bad}, turns(3, 2, 2.0))
    assert window.seen(at(3), LASTS).c_coord_us == SECOND
    assert heard({**turns(1, 1), TURNS: bad}).heard == {}
    assert heard({TURNS: 1.0}).heard == {}, "it does not say which report it is"


def test_a_report_that_does_not_change_gets_stale() -> None:
    window = heard(turns(1, 0))
    for second in range(1, 6):
        window = window.told(at(second), {"i1": turns(1, 0)}, LASTS)
    assert window.fresh(at(4.9), Micros(5 * SECOND)) == {"i1"}
    assert window.fresh(at(5), Micros(5 * SECOND)) == set()


def test_a_replica_that_is_gone_is_forgotten_with_its_sums() -> None:
    window = heard(turns(1, 0), turns(2, 1, 1.0)).told(at(2), {}, LASTS)
    assert window.heard == {}
    window = window.told(at(3), {"i1": turns(3, 50, 50.0)}, LASTS)
    assert window.seen(at(3), LASTS).sums[TURNS] == 1


def test_a_window_begun_anew_is_empty_and_covers_nothing_yet() -> None:
    window = heard(turns(1, 0), turns(2, 1, 9.0)).anew(at(5))
    seen = window.seen(at(7), LASTS)
    assert (seen.c_coord_us, seen.covers_us) == (None, 2 * SECOND)
    assert window.seen(at(60), LASTS).covers_us == LASTS


def test_phases_that_wait_are_demand_like_those_that_run() -> None:
    """Two engines of four places, all taken for 10 s; and each second, three seconds of waiting."""
    busy = {REPORTS: 1.0, ALIVE: 0.0, BUSY: 0.0, PHASES: 0.0}
    later = {REPORTS: 2.0, ALIVE: 10.0 * SECOND, BUSY: 10.0 * SECOND, PHASES: 40.0 * SECOND}
    window = Window(at(0))
    window = window.told(at(0), {"i1": turns(1, 0), "e1": busy, "e2": busy}, LASTS)
    waited = turns(2, 20, 40.0, offer_wait=30.0)
    window = window.told(at(10), {"i1": waited, "e1": later, "e2": later}, LASTS)
    seen = window.seen(at(10), LASTS)
    assert seen.utilisation == 1
    assert seen.demand(2) == pytest.approx(2 + 3 / 4)


def test_the_largest_part_that_is_not_capacity_is_named() -> None:
    seen = heard(turns(1, 0), turns(2, 1, 1.0, offer_wait=0.35, call=0.6, agent=0.05)).seen(
        at(2), LASTS
    )
    assert seen.largest == ("call", pytest.approx(0.6))
    assert seen.capacity_us == pytest.approx(0.35 * SECOND)
