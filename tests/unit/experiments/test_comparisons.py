"""What two kinds of run are told apart by: the same blocks of the same seeds, and means of each."""

import pytest

from coordsvc.experiments.comparisons import against, by_kind, table
from coordsvc.experiments.study import Row

KIND = {"accelerators": "gpus", "pool": "pool"}


def block(pool: str, number: int, turns_per_s: float | None, *, seed: int = 1) -> Row:
    return {
        "gpus": 2,
        "pool": pool,
        "seed": seed,
        "block": number,
        "turns_per_s": turns_per_s,
    }


def test_a_ratio_is_of_means_over_the_same_blocks() -> None:
    rows = [
        *(block("share", n, speed) for n, speed in enumerate((6.0, 9.0))),
        *(block("partition", n, speed) for n, speed in enumerate((4.0, 6.0))),
    ]
    found = against(rows, "pool", "share", "partition", "turns_per_s")
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_seed_that_was_measured_on_one_side_only_is_set_against_no_other() -> None:
    """A run that was broken off: of seed 1 there is one side, and nothing is its pair."""
    rows = [
        *(block("partition", n, 100.0, seed=1) for n in range(2)),
        *(block("partition", n, 4.0, seed=2) for n in range(2)),
        *(block("share", n, 8.0, seed=2) for n in range(2)),
    ]
    found = against(rows, "pool", "share", "partition", "turns_per_s")
    assert found is not None
    assert found.value == 2.0
    alone = [row for row in rows if row["seed"] == 1]
    assert against(alone, "pool", "share", "partition", "turns_per_s") is None


def test_a_block_in_which_nothing_ended_is_no_zero() -> None:
    rows = [
        *(block("partition", n, speed) for n, speed in enumerate((4.0, 4.0, 4.0))),
        *(block("share", n, speed) for n, speed in enumerate((8.0, None, 8.0))),
    ]
    found = against(rows, "pool", "share", "partition", "turns_per_s")
    assert found is not None
    assert (found.value, found.runs) == (2.0, 2)
    assert by_kind(rows, ("pool",), "turns_per_s")["share",].value == 8.0


def test_nothing_is_set_against_a_standstill() -> None:
    rows = [block("share", 0, 8.0), block("partition", 0, 0.0)]
    assert against(rows, "pool", "share", "partition", "turns_per_s") is None


def test_a_table_has_a_line_for_each_kind_and_leaves_out_what_was_not_measured() -> None:
    told = table([block("share", 0, 8.0), block("partition", 0, 4.0)], KIND)
    assert told.columns[:3] == ("accelerators", "pool", "turns a second")
    assert [row[:3] for row in told.rows] == [
        ("2", "share", "8 [8, 8]"),
        ("2", "partition", "4 [4, 4]"),
    ]
    assert {cell for row in told.rows for cell in row[3:]} == {"-"}
