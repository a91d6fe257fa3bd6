"""What turns wait at a load, and the load at which they wait so long."""

from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.queue_law import FULL, QueueLaw, waits


def erlang_wait(load: float, places: int) -> float:
    """The exact mean wait of M/M/c, in lengths of a phase."""
    offered = load * places
    last = offered**places / factorial(places) / (1 - load)
    busy = last / (sum(offered**n / factorial(n) for n in range(places)) + last)
    return busy / (places * (1 - load))


@pytest.mark.parametrize("places", [1, 4, 16])
@pytest.mark.parametrize("load", [0.85, 0.9, 0.95])
def test_it_is_close_to_the_exact_wait_of_a_queue_without_memory(load: float, places: int) -> None:
    assert waits(load, places) == pytest.approx(erlang_wait(load, places), rel=0.15)


def test_a_load_that_is_none_waits_for_nothing_and_a_full_pool_for_a_finite_time() -> None:
    assert waits(0.0, 16) == waits(-3.0, 16) == 0.0
    assert waits(1.0, 16) == waits(FULL, 16) == waits(7.0, 16) < 10


def test_v_is_the_guess_until_it_is_learned() -> None:
    queue = QueueLaw()
    assert queue.v == queue.guess
    for _ in range(300):
        queue.learn(0.85, 16, 1_000_000, 1.4 * 1_000_000 * waits(0.85, 16))
    assert queue.v == pytest.approx(1.4, rel=0.1)


def test_an_idle_pool_teaches_hardly_anything() -> None:
    queue = QueueLaw()
    for _ in range(300):
        queue.learn(0.3, 16, 1_000_000, 20.0)
    assert queue.v == pytest.approx(queue.guess, rel=0.02)


def test_v_stays_within_reason() -> None:
    wild, none = QueueLaw(), QueueLaw()
    for _ in range(100):
        wild.learn(0.9, 4, 1_000_000, 1e12)
        none.learn(0.97, 4, 1_000_000, 0.0)
    assert wild.v == wild.v_max
    assert none.v == none.v_min


@given(st.floats(0.05, 0.97), st.integers(1, 64))
def test_the_load_of_a_wait_is_the_load_that_waits_so(load: float, places: int) -> None:
    queue = QueueLaw()
    found = queue.load_of(queue.waits_us(load, places, 1_000_000), places, 1_000_000)
    assert found == pytest.approx(load, abs=1e-6) or waits(load, places) < 1e-12


def test_a_wait_that_no_load_comes_to_is_at_a_full_pool_and_no_wait_at_none() -> None:
    assert QueueLaw().load_of(1e12, 16, 1_000_000) == FULL
    assert QueueLaw().load_of(0.0, 16, 1_000_000) == 0.0
    assert QueueLaw().load_of(-5.0, 16, 1_000_000) == 0.0
