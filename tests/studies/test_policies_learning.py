"""What learned utilities are held against."""

import pytest

from coordsvc.bench import policies_learning as learning
from coordsvc.bench.policies_runs import doing
from coordsvc.core.policies import Ended
from coordsvc.core.policies.utilities import PowerUtilities
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, Instant, Micros

A, B = AgentId("a"), AgentId("b")
TRUTH = {A: learning.Known(each=2.0, most=8.0), B: learning.Known(each=1.0, most=100.0)}


def case(*, way: str = "learned", tenants: bool = False) -> learning.Case:
    return learning.Case(tenants=tenants, way=way, load=0.9, seed=1, run_s=80.0)


def test_the_truth_of_a_dialogue_follows_from_its_costs() -> None:
    truth = learning.truth_of(case())
    # 0.9 * 16 engine seconds a second make 7.35 turns of 1.96 s
    assert truth[AgentId("planner")].each == pytest.approx(2.5)
    assert truth[AgentId("planner")].most == pytest.approx(7.347, abs=1e-3)
    assert truth[AgentId("checker")].most == pytest.approx(1.2 * 7.347, abs=1e-3)


def test_tenants_have_their_part_of_the_load_and_their_worth() -> None:
    truth = learning.truth_of(case(tenants=True))
    large, small = truth[AgentId("tenant1/planner")], truth[AgentId("tenant2/planner")]
    assert small.each == 3 * large.each
    assert small.most == pytest.approx(1.5 * large.most), "half the load, each worth three times"


def test_known_utilities_rise_until_all_that_comes_in_is_done() -> None:
    known = learning.KnownUtilities(truth=TRUTH, headroom=1.25)
    assert known.utility(A, 3) == 6.0
    assert known.utility(A, 9) == 10.0
    assert known.marginal(A, 4) == 2.0
    assert known.marginal(A, 5) == 0.0
    assert known.refresh(Instant(0), {}) is False


def test_the_truth_itself_has_no_error_and_all_the_value() -> None:
    known = learning.KnownUtilities(truth=TRUTH)
    curves = {agent: [known.utility(agent, n) for n in range(17)] for agent in TRUTH}
    assert learning.errors_of(curves[A], TRUTH[A], 4.0) == [0.0] * 4
    assert learning.value(curves, known) == 1.0


def test_errors_are_told_up_to_what_was_held() -> None:
    curve = [2.2 * n for n in range(17)]
    assert learning.errors_of(curve, TRUTH[A], 3.5) == pytest.approx([0.1] * 4)
    assert len(learning.errors_of(curve, TRUTH[A], 0.2)) == 1, "at one bundle"
    assert len(learning.errors_of(curve, TRUTH[A], 3.0)) == 3


def test_a_learner_that_takes_one_for_the_other_loses_value() -> None:
    known = learning.KnownUtilities(truth=TRUTH)
    wrong = {A: [0.5 * n for n in range(17)], B: [1.0 * n for n in range(17)]}
    # all sixteen go to b: 16, where five for a (10) and eleven for b (11) are right
    assert learning.value(wrong, known) == pytest.approx(16 / 21)


def test_the_worst_window_is_after_the_cold() -> None:
    assert learning.worst_window([0.0, 9.0, 12.0], [5.0, 10.0, 10.0]) == 0.9


def test_what_ends_is_watched_and_passed_on() -> None:
    watched = learning.Watched(inner=PowerUtilities(alpha=1.0), importance={A: 2.0})
    now = Instant(45 * SECOND)
    end = Ended(
        agent=A,
        bundle=Resources(gpu_milli=250),
        began=Instant(44 * SECOND),
        ended=now,
        compute_us=Micros(SECOND),
        late=False,
    )
    for _ in range(learning.TURNS_MIN):
        watched.refresh(now, {A: 3})
        assert not watched.curves
        watched.ended(now, end)
    watched.refresh(now, {A: 3})
    watched.refresh(now, {A: 16})
    assert watched.mean_held() == {A: 3.0}, "what was held later does not count"
    assert watched.windows == [0.0, 2.0 * learning.TURNS_MIN]
    assert watched.curves == {A: tuple(float(n) for n in range(learning.SLOTS + 1))}
    assert (watched.marginal(A, 3), watched.utility(A, 3)) == (1.0, 3.0)


def test_a_run_that_learns_is_held_against_the_same_one_by_hand() -> None:
    with doing(1) as do:
        told = learning.measure([1], 80.0, do, lambda _: None)
    assert len(told["cases"]) == 2
    for one in told["cases"].values():
        assert set(one["turns_per_s"]) == set(learning.WAYS)
        assert one["worst_window"] > 0
    assert len(told["must_show"]) == 6
