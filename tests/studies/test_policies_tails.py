"""Heavy tails and deadlines."""

import pytest

from coordsvc.bench import policies_tails as tails
from coordsvc.bench.policies_runs import doing

CELL = tails.Cell(
    workload="heavy_tailed",
    slots=4,
    load=0.85,
    policy="virtual_finish",
    costs_known=True,
    seed=2,
    run_s=200.0,
)


def test_a_column_says_whether_costs_were_known() -> None:
    blind = tails.Cell(
        workload="poisson",
        slots=4,
        load=0.9,
        policy="slack",
        costs_known=False,
        seed=1,
        run_s=10.0,
    )
    assert blind.column == "slack, means only"
    assert CELL.column == "virtual_finish"


def test_no_policy_is_below_the_bound() -> None:
    (column,), figures = tails.run(CELL)
    assert column == "virtual_finish"
    assert figures["p95_ms"] is not None
    assert figures["p95_ms"] >= tails.bound_ms(CELL)


def test_who_wins_without_costs_is_told_apart() -> None:
    with doing(1) as do:
        told = tails.tails([1], 40.0, do, lambda _: None)
    assert set(told["pools"]) == {"4", "8", "16"}
    first = told["pools"]["4"]
    assert first["best_without_costs"] not in {"slack", "virtual_finish", "slack, means only"}
    assert first["policies"]["round_robin"]["p95_vs_round_robin"]["mean"] == 1.0
    assert [shown["target"] for shown in told["must_show"]] == [0.5]
    bound = first["bound_vs_round_robin"]["mean"]
    assert bound <= min(one["p95_vs_round_robin"]["mean"] for one in first["policies"].values())


def test_the_best_at_deadlines_is_held_against_the_fastest() -> None:
    def runs(in_time: float, turns_per_s: float) -> list[dict[str, float | None]]:
        return [{"in_time": in_time, "turns_per_s": turns_per_s}] * 2

    found = {
        ("round_robin",): runs(0.90, 10.0),
        ("slack",): runs(0.995, 9.6),
        ("virtual_finish",): runs(0.97, 9.9),
    }
    told, must = tails._deadlines_on(found, "x")
    assert (told["best"], told["most_throughput"]) == ("slack", "round_robin")
    assert told["throughput_vs_most"]["mean"] == pytest.approx(0.96)
    assert [shown["ok"] for shown in must] == [True, True, True]


def test_a_round_robin_that_is_good_enough_shows_nothing() -> None:
    found = {("round_robin",): [{"in_time": 0.96, "turns_per_s": 1.0}] * 2}
    _, must = tails._deadlines_on(found, "x")
    assert must[0]["ok"] is False
