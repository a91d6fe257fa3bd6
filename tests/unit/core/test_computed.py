"""An engine's account of what it computed: the sum is exact, the bins say when."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.computed import BIN_US, BINS_MAX, Computing
from coordsvc.core.units import Instant

BEGAN = Instant(7_000_000)
SHARE = 250_000


def at(us: int) -> Instant:
    return Instant(BEGAN + us)


def test_a_phase_counts_for_as_long_as_it_runs() -> None:
    engine = Computing(BEGAN, 1_000_000)
    engine.changed(at(10_000), SHARE)
    engine.changed(at(40_000), -SHARE)
    word = engine.word(at(60_000))
    assert (word.alive_us, word.capacity, word.total) == (60_000, 1_000_000, 30_000 * SHARE)
    assert word.bins == (30_000 * SHARE,)
    assert word.rest_us == 10_000


def test_what_computed_some_time_ago_is_found_in_its_bin() -> None:
    engine = Computing(BEGAN, 1_000_000)
    engine.changed(at(2 * BIN_US), SHARE)
    engine.changed(at(3 * BIN_US), -SHARE)
    word = engine.word(at(5 * BIN_US + 1_000))
    ages = [1_000 + n * BIN_US + 10 for n in range(5)]
    assert [word.share_at(age) for age in ages] == [0, 0, SHARE, 0, 0]
    assert word.share_at(1_000 + 5 * BIN_US + 10) is None, "before its time"
    assert word.share_at(0) == 0, "the bin under way is not cut yet: the last one stands for it"


def test_an_engine_that_has_just_begun_knows_nothing() -> None:
    assert Computing(BEGAN, 1).word(at(BIN_US - 1)).share_at(0) is None


def test_a_long_silence_costs_no_more_than_the_bins_that_are_kept() -> None:
    engine = Computing(BEGAN, 1_000_000)
    engine.changed(at(0), SHARE)
    year = 365 * 24 * 3_600 * 1_000_000
    word = engine.word(at(year))
    assert word.total == year * SHARE
    assert word.bins == (BIN_US * SHARE,) * BINS_MAX


def test_a_clock_that_steps_back_stands_still() -> None:
    engine = Computing(BEGAN, 1_000_000)
    engine.changed(at(30_000), SHARE)
    engine.changed(at(10_000), SHARE)
    assert engine.word(at(40_000)).total == 10_000 * 2 * SHARE


@given(st.lists(st.tuples(st.integers(0, 4_000_000), st.integers(0, 3)), min_size=1, max_size=30))
def test_bins_and_what_is_left_of_the_last_add_up_to_the_sum(steps: list[tuple[int, int]]) -> None:
    """Against a plain re-count of who ran when."""
    engine = Computing(BEGAN, 3)
    now, running = BEGAN, 0
    changes = [(now, 0)]
    for wait, wanted in steps:
        now = Instant(now + wait)
        engine.changed(now, wanted - running)
        running = wanted
        changes.append((now, running))
    end = Instant(now + 1_000_000)
    changes.append((end, 0))

    def recount(left: int, right: int) -> int:
        return sum(
            share * max(0, min(right, until) - max(left, since))
            for (since, share), (until, _) in pairwise(changes)
        )

    word = engine.word(end)
    assert word.total == recount(BEGAN, end)
    last_cut = end - word.rest_us
    for back, told in enumerate(reversed(word.bins)):
        right = last_cut - back * BIN_US
        assert told == recount(right - BIN_US, right)
