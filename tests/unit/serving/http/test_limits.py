"""What a key may use: a bucket that fills, turns at once, and what guessing costs."""

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.units import SECOND, Instant
from coordsvc.serving.http.limits import Bucket, Offenders, allowance

MINUTE = 60 * SECOND


def at(second: float) -> Instant:
    return Instant(round(second * SECOND))


def test_a_burst_is_let_in_and_then_a_request_each_second() -> None:
    bucket = Bucket(per_minute=60, burst=3)
    assert [bucket.wait_us(at(5)) for _ in range(3)] == [0, 0, 0]
    assert bucket.wait_us(at(5)) == SECOND
    assert bucket.wait_us(at(5.75)) == SECOND // 4
    assert bucket.wait_us(at(6)) == 0


def test_a_rest_saves_up_no_more_than_the_burst() -> None:
    bucket = Bucket(per_minute=60, burst=2)
    bucket.wait_us(at(0))
    assert [bucket.wait_us(at(3_600)) for _ in range(3)] == [0, 0, SECOND]


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    bucket = Bucket(per_minute=60, burst=1)
    assert bucket.wait_us(at(100)) == 0
    assert bucket.wait_us(at(50)) > 0


@given(st.lists(st.integers(0, 3 * SECOND), max_size=60), st.integers(1, 120), st.integers(1, 9))
def test_no_minute_lets_in_more_than_the_rate_and_a_burst(
    waits: list[int], per_minute: int, burst: int
) -> None:
    bucket = Bucket(per_minute, burst)
    now, taken = 0, []
    for wait in waits:
        now += wait
        if bucket.wait_us(Instant(now)) == 0:
            taken.append(now)
    for n, first in enumerate(taken):
        within = sum(1 for one in taken[n:] if one - first < MINUTE)
        assert within <= per_minute + burst


def test_without_limits_there_are_none() -> None:
    assert allowance(None, None, None).bucket is None
    half_said = allowance(30, None, None).bucket
    assert half_said is not None
    assert half_said.burst == 3
    rare = allowance(1, None, None).bucket
    assert rare is not None
    assert rare.burst == 1


def test_a_flood_of_addresses_is_remembered_up_to_a_bound() -> None:
    offenders = Offenders(per_minute=2, addresses_max=100)
    for n in range(10_000):
        assert offenders.wait_us(f"10.0.{n // 256}.{n % 256}", at(1)) == 0
    assert len(offenders._buckets) == 100


def test_an_address_that_guesses_on_is_not_forgotten_for_newer_ones() -> None:
    offenders = Offenders(per_minute=2, addresses_max=2)
    for _ in range(3):
        offenders.wait_us("guesser", at(1))
        offenders.wait_us("other", at(1))
    assert offenders.wait_us("guesser", at(1)) > 0
