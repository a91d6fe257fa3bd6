"""What replicas tell for autoscaling: sums since they began."""

from coordsvc.core.accounting import TurnAccount
from coordsvc.core.resources import Resources
from coordsvc.core.scaling_report import (
    ALIVE,
    BUSY,
    C_COORD,
    PHASES,
    REPORTS,
    TURNS,
    EngineSums,
    TurnSums,
    part_key,
)
from coordsvc.core.units import SECOND, Instant, Micros

WHOLE, HALF = Resources(cpu_milli=4_000), Resources(cpu_milli=2_000)


def at(seconds: float) -> Instant:
    return Instant(round(seconds * SECOND))


def account(wall_ms: int, solo_ms: int, **parts_ms: int) -> TurnAccount:
    return TurnAccount(
        wall_us=Micros(wall_ms * 1_000),
        solo_us=Micros(solo_ms * 1_000),
        engine_us=Micros(solo_ms * 1_000),
        parts={part: Micros(spent * 1_000) for part, spent in parts_ms.items()},
    )


def test_turns_are_added_up_by_part_and_never_begun_anew() -> None:
    sums = TurnSums()
    assert sums.report() == {REPORTS: 1, TURNS: 0, C_COORD: 0}
    sums.turn(account(900, 300, offer_wait=500, call=100))
    sums.turn(account(500, 300, call=200))
    told = sums.report()
    assert told == {
        REPORTS: 2,
        TURNS: 2,
        C_COORD: 800_000,
        part_key("offer_wait"): 500_000,
        part_key("call"): 300_000,
    }
    assert sums.report() == {**told, REPORTS: 3}


def test_an_engine_tells_how_much_of_it_was_taken_and_by_how_many() -> None:
    """A half for 4 s, and another beside it for 1 s of them; then nothing for 6 s."""
    sums = EngineSums(at(100), WHOLE)
    sums.began(at(100), HALF)
    sums.began(at(102), HALF)
    sums.ended(at(103), HALF)
    sums.ended(at(104), HALF)
    told = sums.report(at(110))
    assert told == {
        REPORTS: 1,
        ALIVE: 10 * SECOND,
        BUSY: 2.5 * SECOND,
        PHASES: 5 * SECOND,
    }


def test_what_runs_counts_before_it_has_ended() -> None:
    sums = EngineSums(at(0), WHOLE)
    sums.began(at(0), WHOLE)
    assert sums.report(at(1))[BUSY] == SECOND
    assert sums.report(at(3))[BUSY] == 3 * SECOND


def test_a_clock_that_steps_back_stands_still() -> None:
    sums = EngineSums(at(10), WHOLE)
    sums.began(at(10), WHOLE)
    assert sums.report(at(12))[BUSY] == 2 * SECOND
    assert sums.report(at(11))[BUSY] == 2 * SECOND
    assert sums.report(at(13))[BUSY] == 3 * SECOND
