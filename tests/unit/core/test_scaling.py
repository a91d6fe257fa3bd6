"""The Universal Scalability Law: what is put in comes out, and too little says so."""

from dataclasses import replace
from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.scaling import FEW, Law, LawTerms, Scaling, best_number, non_negative
from coordsvc.core.units import SECOND, Instant, Micros
from coordsvc.core.window import Window

TEN_S = Micros(10 * SECOND)
LOADS = (1, 2, 4, 8, 16, 32)


def throughput(n: float, rate: float, sigma: float, kappa: float) -> float:
    return rate * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def seen(n: float, rate: float, at: int = 0) -> Window:
    """A window with so many turns under way, and so many turns a second."""
    return Window(
        began=Instant(at * TEN_S),
        lasts_us=TEN_S,
        turns=round(rate * 10),
        concurrency=n,
    )


def fitted(loads, rate: float, sigma: float, kappa: float, rounds: int = 3) -> Scaling:
    scaling = Scaling()
    for _ in range(rounds):
        for n in loads:
            scaling.window(seen(n, throughput(n, rate, sigma, kappa)))
    return scaling


def law_of(*args, **more) -> Law:
    law = fitted(*args, **more).fit().law
    assert law is not None
    return law


def test_the_law_that_made_the_loads_is_found() -> None:
    law = law_of(LOADS, 100.0, 0.05, 0.002)
    assert law.rate == pytest.approx(100.0, rel=0.01)
    assert law.sigma == pytest.approx(0.05, abs=0.002)
    assert law.kappa == pytest.approx(0.002, rel=0.05)
    assert law.best == pytest.approx((0.95 / 0.002) ** 0.5, rel=0.03)
    assert (law.loads, law.lowest, law.highest) == (6, 1.0, 32.0)


def test_at_the_best_number_one_more_turn_gains_nothing() -> None:
    law = law_of(LOADS, 100.0, 0.05, 0.002)
    assert law.best is not None
    assert law.gain(law.best) == pytest.approx(0.0, abs=1e-9)
    assert law.gain(law.best / 2) > 0 > law.gain(law.best * 2)
    assert law.gain(1) == pytest.approx(1 - law.sigma - law.kappa)
    beside = (law.throughput(law.best - 1), law.throughput(law.best + 1))
    assert law.throughput(law.best) > max(beside)


def test_a_service_without_contention_scales_on_and_has_no_best_number() -> None:
    law = law_of(LOADS, 50.0, 0.0, 0.0)
    assert (law.sigma, law.kappa) == (pytest.approx(0, abs=1e-3), pytest.approx(0, abs=1e-4))
    assert law.best is None
    assert "no best number" in fitted(LOADS, 50.0, 0.0, 0.0).fit().says


def test_a_bend_far_beyond_what_was_seen_is_not_told() -> None:
    assert law_of((1, 2, 3, 4), 1_000.0, 0.0, 1e-3).best is None
    assert best_number(0.0, 1e-3, 16.0) is None
    assert best_number(0.0, 1e-3, 100.0) == pytest.approx(31.6, abs=0.1)


def test_a_service_that_only_loses_is_best_with_one_turn() -> None:
    assert best_number(1.2, 0.0, 100.0) == 1.0
    assert best_number(0.5, 0.9, 100.0) == 1.0


def test_noise_moves_the_law_a_little_only() -> None:
    draws, scaling = np.random.default_rng(7), Scaling()
    for _ in range(60):
        for n in LOADS:
            noise = draws.normal(1, 0.1, 2)
            scaling.window(seen(n * noise[0], throughput(n, 100.0, 0.05, 0.002) * noise[1]))
    law = scaling.fit().law
    assert law is not None
    assert law.best == pytest.approx(21.8, rel=0.25)
    assert law.error < 0.15


def test_equal_loads_give_no_value_and_say_so() -> None:
    fit = fitted((8.0, 8.1, 8.2), 100.0, 0.05, 0.002, rounds=50).fit()
    assert fit.law is None
    assert fit.says.startswith(FEW)


def test_four_loads_close_together_give_no_value() -> None:
    fit = fitted((8, 9.6, 11.5, 13.6), 100.0, 0.05, 0.002, rounds=9).fit()
    assert fit.law is None
    assert fit.says == "not enough loads yet: all between 8.0 and 13.6"


def test_nothing_gives_no_value() -> None:
    assert Scaling().fit().says == "not enough loads yet: 0 of 4"


def test_windows_that_say_nothing_are_no_load() -> None:
    scaling = Scaling()
    for strange in (
        seen(4, 0.0),
        replace(seen(4, 10.0), concurrency=0.0),
        replace(seen(4, 10.0), concurrency=nan),
        replace(seen(4, 10.0), concurrency=inf),
        replace(seen(4, 10.0), lasts_us=Micros(0)),
        replace(seen(4, 10.0), turns=-3),
    ):
        scaling.window(strange)
    assert list(scaling.loads()) == []


def test_a_service_that_changed_is_believed_the_new() -> None:
    scaling = fitted(LOADS, 100.0, 0.05, 0.002, rounds=20)
    for _ in range(150):
        for n in LOADS:
            scaling.window(seen(n, throughput(n, 100.0, 0.05, 0.02)))
    law = scaling.fit().law
    assert law is not None
    assert law.kappa == pytest.approx(0.02, rel=0.1)


def test_a_load_of_long_ago_is_forgotten_at_last() -> None:
    scaling = fitted((1, 2, 4), 100.0, 0.05, 0.002)
    for _ in range(6_000):
        scaling.window(seen(8, throughput(8, 100.0, 0.05, 0.002)))
    assert [round(n) for n, _, _ in scaling.loads()] == [8]


def test_memory_does_not_grow_with_the_loads_that_there_are() -> None:
    scaling, draws = Scaling(), np.random.default_rng(1)
    for n in 10 ** draws.uniform(-3, 12, 3_000):
        scaling.window(seen(float(n), 5.0))
    assert len(scaling._bins) <= LawTerms().bins_max


def test_the_two_views_of_c_coord_are_the_papers() -> None:
    law = law_of(LOADS, 100.0, 0.05, 0.002)
    takes = 10 * SECOND / law.throughput(10)
    assert law.c_coord_us(10) == pytest.approx(takes - SECOND / law.rate)
    fixed = law.c_coord_fixed_us(10, 500_000)
    assert fixed == pytest.approx(500_000 * (law.sigma * 0.9 + law.kappa * 9))
    assert (law.c_coord_us(0.3), law.c_coord_fixed_us(1, 500_000)) == (0.0, 0.0)


def test_acceleration_says_nothing_of_what_is_near() -> None:
    """Of work that is shared out it is negative even beyond N*; of work brought along constant."""
    law = law_of(LOADS, 100.0, 0.05, 0.002)
    assert law.best is not None
    for n in (5.0, law.best, 3 * law.best):
        fixed = [law.c_coord_fixed_us(n + d, 500_000) for d in (-1, 0, 1)]
        assert fixed[0] - 2 * fixed[1] + fixed[2] < 0
        brought = [law.c_coord_us(n + d) for d in (-1, 0, 1)]
        constant = 2 * law.kappa * SECOND / law.rate
        assert brought[0] - 2 * brought[1] + brought[2] == pytest.approx(constant)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e7), st.integers(0, 10**6)),
        max_size=40,
    )
)
def test_whatever_is_seen_there_is_a_law_in_numbers_or_none(loads) -> None:
    scaling = Scaling()
    for n, turns in loads:
        scaling.window(replace(seen(n, 0.0), turns=turns))
    fit = scaling.fit()
    assert fit.says
    if (law := fit.law) is not None:
        assert law.sigma >= 0 <= law.kappa
        figures = (law.rate, law.sigma, law.kappa, law.error, law.gain(3), law.throughput(0))
        assert all(map(isfinite, figures))
        assert law.best is None or 1 <= law.best <= 4 * law.highest


@given(st.integers(0, 2**32 - 1))
def test_non_negative_least_squares_is_what_a_search_finds(seed: int) -> None:
    draws = np.random.default_rng(seed)
    columns, wanted = draws.normal(size=(6, 3)), draws.normal(size=6)
    found = non_negative(columns, wanted)
    assert (found >= 0).all()
    distance = np.linalg.norm(columns @ found - wanted)
    for _ in range(50):
        other = np.maximum(0, found + draws.normal(scale=0.3, size=3))
        assert distance <= np.linalg.norm(columns @ other - wanted) + 1e-12
