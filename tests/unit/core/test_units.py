"""Durations, instants and epochs."""

from coordsvc.core.units import SECOND, Epoch, Instant, Micros, after, seconds, since


def test_a_later_life_of_the_same_run_supersedes() -> None:
    first, second = Epoch("monday", 1), Epoch("monday", 2)
    assert second.supersedes(first)
    assert not first.supersedes(second)
    assert not first.supersedes(first)


def test_lives_of_two_runs_do_not_supersede_each_other() -> None:
    assert not Epoch("tuesday", 9).supersedes(Epoch("monday", 1))
    assert not Epoch("monday", 1).supersedes(Epoch("tuesday", 9))


def test_a_clock_that_steps_back_makes_no_negative_duration() -> None:
    assert since(Instant(10), Instant(4)) == 0
    assert since(Instant(4), Instant(10)) == 6


def test_seconds_become_whole_microseconds() -> None:
    assert seconds(0.25) == 250_000
    assert after(Instant(5), Micros(SECOND)) == 1_000_005
