"""When turns arrive."""

import pytest

from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.simulation.arrivals import bursty, diurnal, poisson, risen, rising, window_of
from coordsvc.simulation.chance import Purpose, streams

LASTS = Micros(1_000 * SECOND)


def arrivals(process, seed: int = 5) -> list[Instant]:
    return list(process(streams(seed)[Purpose.ARRIVALS], 10.0, LASTS))


def spread(instants: list[Instant]) -> float:
    """The variance of the number of arrivals a second, over its mean: 1 for Poisson."""
    counts = [0] * 1_000
    for instant in instants:
        counts[instant // SECOND] += 1
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / len(counts) / mean


@pytest.mark.parametrize("process", [poisson, bursty, diurnal])
def test_arrivals_rise_end_in_time_and_keep_their_mean_rate(process) -> None:
    runs = [arrivals(process, seed) for seed in range(8)]
    assert all(run == sorted(run) for run in runs)
    assert min(run[0] for run in runs) >= 0
    assert max(run[-1] for run in runs) < LASTS
    assert sum(map(len, runs)) / len(runs) == pytest.approx(10_000, rel=0.06)


def test_bursts_come_in_crowds_and_poisson_does_not() -> None:
    assert spread(arrivals(poisson)) == pytest.approx(1.0, abs=0.15)
    assert spread(arrivals(bursty)) > 5


def test_days_have_nights() -> None:
    instants = arrivals(diurnal)
    night = sum(1 for instant in instants if instant < LASTS // 10)
    noon = sum(1 for instant in instants if LASTS // 5 <= instant < 3 * LASTS // 10)
    assert noon > 4 * night


def test_a_rate_rises_from_a_part_of_the_run_on() -> None:
    assert [risen(part, 0.5, 3.0) for part in (0.0, 0.5, 0.75, 1.0)] == [1.0, 1.0, 2.0, 3.0]
    instants = arrivals(rising(0.5, 3.0))
    before = sum(1 for instant in instants if instant < LASTS // 2)
    last = sum(1 for instant in instants if instant >= LASTS * 9 // 10)
    assert before == pytest.approx(5_000, rel=0.05)
    assert last == pytest.approx(1_000 * 2.8, rel=0.08)


def test_a_rate_may_fall_too() -> None:
    instants = arrivals(rising(0.0, 0.0))
    assert len(instants) == pytest.approx(5_000, rel=0.05)


def test_windows_cut_a_run_into_equal_parts() -> None:
    assert [window_of(Instant(at), Micros(10), 2) for at in (0, 4, 5, 9)] == [0, 0, 1, 1]
