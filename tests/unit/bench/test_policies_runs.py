"""Which runs there are, and what walls are given."""

from typing import Any

import pytest

from coordsvc.bench.policies_runs import (
    COLUMNS,
    KNOWS,
    LEARNED,
    alike,
    best,
    by_cell,
    doing,
    known,
    milliseconds,
    peaks,
    policy_terms,
    settings_of,
    with_policy,
)
from coordsvc.core.policies.catalogue import NAMES


def test_every_policy_is_compared_and_it_is_said_what_each_knows() -> None:
    assert set(COLUMNS) == {*NAMES, LEARNED} - {"planned"} == set(KNOWS)


def test_a_pool_is_of_nodes_of_four() -> None:
    assert sum(plan.count * plan.slots for plan in alike(16)) == 16
    assert sum(plan.count * plan.slots for plan in alike(6)) == 6


def test_policies_differ_in_nothing_else() -> None:
    plain = settings_of("poisson", 3, load=0.8, run_s=20, slots=8)
    first, second = with_policy(plain, "first_come"), with_policy(plain, "slack")
    assert first.workload_drawn() == second.workload_drawn()
    assert first.slots == second.slots == 8
    assert (first.terms.policy.name, second.terms.policy.name) == ("first_come", "slack")
    assert plain.warm_us == 2_000_000


def test_learned_utilities_are_the_utility_policy_with_a_learner() -> None:
    terms = policy_terms(LEARNED, settings_of("poisson", 1, load=0.8, run_s=20))
    assert terms.name == "utility"
    assert terms.learning is not None


@pytest.mark.parametrize(
    ("workload", "split"),
    [
        # 400, 1200 and 360 ms of a turn: 3.27, 9.8 and 2.94 of 16
        ("poisson", {"planner": 3, "responder": 10, "checker": 3}),
        ("two_window", {"role1": 7, "role2": 2, "role3": 7}),
    ],
)
def test_walls_are_as_wide_as_the_peaks(workload: str, split: dict[str, int]) -> None:
    terms = policy_terms("static_partition", settings_of(workload, 1, load=0.8, run_s=20, slots=16))
    assert terms.partition == split


def test_the_walls_of_tenants_follow_what_they_ask() -> None:
    asked = peaks(settings_of("tenants", 1, load=0.8, run_s=20))
    assert asked["tenant1"] == 2 * asked["tenant2"]


def test_where_the_skew_moves_walls_are_for_both_windows() -> None:
    plain = peaks(settings_of("poisson", 1, load=0.8, run_s=20))
    skewed = peaks(settings_of("phase_skewed", 1, load=0.8, run_s=20))
    assert skewed["planner"] == 3 * plain["planner"]
    assert skewed["checker"] > plain["checker"]


def test_jobs_are_done_in_order_by_as_many_as_are_asked() -> None:
    with doing(1) as do:
        assert list(do(milliseconds, [1_000, None])) == [1.0, None]


def test_outcomes_are_told_by_cell() -> None:
    told: list[tuple[tuple[str, ...], Any]] = [(("a",), 1), (("b",), 2), (("a",), 3)]
    assert by_cell(told) == {("a",): [1, 3], ("b",): [2]}


def test_where_one_seed_has_no_figure_there_is_no_mean() -> None:
    assert known([1.0, 2.0]) == [1.0, 2.0]
    assert known([1.0, None]) is None
    assert known([]) is None


def test_the_first_of_equals_is_best() -> None:
    assert best({"b": 1.0, "a": 1.0, "c": 2.0}, largest=False) == "a"
    assert best({"b": 1.0, "a": 1.0, "c": 2.0}, largest=True) == "c"
