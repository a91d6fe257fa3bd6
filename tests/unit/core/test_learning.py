"""Utilities learned online: against utilities that are known, over many seeds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.core.learning import (
    LOAD_BINS,
    UNTOLD,
    LearnedUtilities,
    LearningTerms,
    load_bin,
)
from coordsvc.core.policies import Ended
from coordsvc.core.policies.utilities import PowerUtilities, Utilities
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, Instant, Micros

PLANNER = AgentId("planner")
RESPONDER = AgentId("responder")
CHECKER = AgentId("checker")
HAND_SET = PowerUtilities(alpha=0.5)


def saturating(height: float, half_at: float):
    """u(n) = height * n / (n + half_at): bundles that slow each other down."""
    return lambda n: height * n / (n + half_at)


def learner(**terms) -> LearnedUtilities:
    return LearnedUtilities(prior=HAND_SET, terms=LearningTerms(**terms))


def at(window: int) -> Instant:
    return Instant(window * SECOND)


def end(agent, began_us, ended_us, late=False, phase="") -> Ended:
    return Ended(
        agent=agent,
        bundle=Resources(gpu_milli=1_000),
        began=Instant(began_us),
        ended=Instant(ended_us),
        compute_us=Micros(0),
        late=late,
        phase=phase,
    )


def show(learned, rng, agent, truth, windows, ns=(1, 12), start=0, noise=0.3) -> int:
    """Let `agent` be observed at random numbers of bundles, with relative noise."""
    for window in range(start, start + windows):
        n = int(rng.integers(ns[0], ns[1] + 1))
        y = truth(n) * float(rng.gamma(1 / noise**2, noise**2))
        learned.observe(at(window), agent, n, y)
        if window % 5 == 0:
            learned.refresh(at(window), {})
    learned.refresh(at(start + windows), {})
    return start + windows


def error(learned, agent, truth, ns=(1, 12)) -> float:
    """Mean absolute error as a part of the utility's range."""
    visited = range(ns[0], ns[1] + 1)
    return float(np.mean([abs(learned.utility(agent, n) - truth(n)) for n in visited])) / truth(
        ns[1]
    )


def serve(
    learned, rng, agent, held, seconds_a_phase, *, seconds, start=0, used=1.0, late=0.0, phase=""
):
    """Let `held` bundles of `agent` work, each on one phase after the other, for some seconds.

    Returns how many phases it was told of; those that are cut short are not.
    """
    ends = []
    for _ in range(round(held * used)):
        clock = start * SECOND
        while clock < (start + seconds) * SECOND:
            lasts = round(seconds_a_phase * float(rng.gamma(9, 1 / 9)) * SECOND)
            ends.append((clock + lasts, clock))
            clock += lasts
    ends.sort()
    told = 0
    for tick in range(start * 4, (start + seconds) * 4):
        now = tick * SECOND // 4
        while told < len(ends) and ends[told][0] <= now:
            was_late = bool(rng.random() < late)
            learned.ended(Instant(now), end(agent, ends[told][1], ends[told][0], was_late, phase))
            told += 1
        learned.refresh(Instant(now), {agent: held})
    return told


# --- before anything is known


def test_a_learner_is_what_the_utility_policy_asks_for() -> None:
    asked: Utilities = learner()
    assert asked.marginal(PLANNER, 0) == HAND_SET.marginal(PLANNER, 0)


def test_the_cold_have_the_hand_set_utility_to_the_last_bit() -> None:
    learned = learner(cold_windows=20)
    show(learned, np.random.default_rng(1), PLANNER, saturating(10, 4), windows=19)
    for n in (0, 1, 5, 30, 10_000):
        assert learned.marginal(PLANNER, n) == HAND_SET.marginal(PLANNER, n)
    assert learned.utility(PLANNER, 8) == pytest.approx(8**0.5)
    assert learned.utility(RESPONDER, 4) == pytest.approx(2)
    assert learned.band(PLANNER, 3) == (0, float("inf"))


def test_the_twentieth_window_ends_the_cold_and_the_next_refresh_says_so() -> None:
    learned = learner(cold_windows=20)
    for window in range(19):
        learned.observe(at(window), PLANNER, 2, 5.0)
        assert not learned.refresh(at(window), {})
    learned.observe(at(19), PLANNER, 2, 5.0)
    assert learned.marginal(PLANNER, 0) == HAND_SET.marginal(PLANNER, 0)
    assert learned.refresh(at(19), {})
    assert learned.utility(PLANNER, 2) == pytest.approx(5.0, rel=0.01)


def test_the_cold_are_compared_with_the_warm_in_the_unit_of_the_warm() -> None:
    """The planner yields a hundred times what its hand-set number says; so may the others."""
    learned = learner(explore=0)
    for window in range(30):
        learned.observe(at(window), PLANNER, 4, 200.0)
        learned.refresh(at(window), {})
    assert learned.marginal(RESPONDER, 0) == pytest.approx(100, rel=0.01)
    assert learned.marginal(RESPONDER, 3) == pytest.approx(100 * (2 - 3**0.5), rel=0.01)


# --- learning


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("truth", [saturating(10, 4), saturating(3, 30), lambda n: min(n, 6.0)])
def test_after_500_noisy_observations_it_is_within_5_per_cent(seed, truth) -> None:
    learned = learner()
    show(learned, np.random.default_rng(seed), PLANNER, truth, windows=500)
    assert error(learned, PLANNER, truth) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_after_500_phases_told_only_by_their_ends_it_is_within_5_per_cent(seed) -> None:
    """n bundles, all in use; a phase lasts (n + 4) / 10 seconds, so u(n) = 10 n / (n + 4)."""
    learned, rng = learner(), np.random.default_rng(seed)
    truth = saturating(10, 4)
    start = phases = 0
    while phases < 500:
        n = int(rng.integers(2, 9))
        phases += serve(learned, rng, PLANNER, n, (n + 4) / 10, seconds=15, start=start)
        start += 15
    assert error(learned, PLANNER, truth, ns=(2, 8)) < 0.05


def test_bundles_that_stand_idle_are_not_taken_for_slow_ones() -> None:
    """Ten are held, four are used, half a second a phase: four yield eight a second, not ten."""
    learned = learner()
    serve(learned, np.random.default_rng(3), PLANNER, 10, 0.5, seconds=80, used=0.4)
    assert learned.utility(PLANNER, 4) == pytest.approx(8, rel=0.05)
    assert learned.utility(PLANNER, 5) > learned.utility(PLANNER, 4)


def test_a_late_phase_is_worth_the_throughput_alone() -> None:
    learned = learner(throughput_weight=0.25, deadline_weight=1.0, importance={RESPONDER: 3.0})
    rng = np.random.default_rng(4)
    serve(learned, rng, PLANNER, 4, 0.5, seconds=60, late=1.0)
    serve(learned, rng, RESPONDER, 4, 0.5, seconds=60, start=60)
    assert learned.utility(PLANNER, 4) == pytest.approx(8 * 0.25, rel=0.05)
    assert learned.utility(RESPONDER, 4) == pytest.approx(8 * 1.25 * 3, rel=0.05)


def test_more_than_comes_in_cannot_be_done() -> None:
    """Two phases a second arrive, each takes half a second: one bundle does it."""
    learned = learner(headroom=1.5)
    rng = np.random.default_rng(5)
    for second in range(80):
        learned.arrived(at(second), PLANNER)
        learned.arrived(at(second), PLANNER)
        serve(learned, rng, PLANNER, 4, 0.5, seconds=1, start=second)
    assert learned.utility(PLANNER, 50) == pytest.approx(3, rel=0.05)
    assert learned.marginal(PLANNER, 0) > 1
    assert learned.marginal(PLANNER, 3) == 0


def test_a_load_that_grows_raises_the_ceiling_before_anything_has_ended() -> None:
    """Else who was idle for long, and holds nothing, would go on being thought idle."""
    learned = learner()
    rng = np.random.default_rng(5)
    for second in range(40):
        learned.arrived(at(second), PLANNER)
        serve(learned, rng, PLANNER, 4, 0.5, seconds=1, start=second)
    low = learned.utility(PLANNER, 4)
    for second in range(40, 50):
        for _ in range(6):
            learned.arrived(at(second), PLANNER)
        learned.refresh(at(second), {})
    assert learned.utility(PLANNER, 4) > 2 * low


def test_a_load_is_believed_without_the_one_beside_it_once_it_has_grants_enough() -> None:
    """A rate near the border of two bins has its grants in both."""
    learned = learner(alone_grants=100)
    for window in range(90):
        for load in (5, 6, 9):
            learned.observe(at(window), PLANNER, 2, 4.0, load=load)
    student = learned.students[PLANNER]
    seen = student.seen
    alone = sum(sums.count for sums in seen[5].at.values())
    assert alone < 100
    (both,) = learned._evidence(student, 5).values()
    assert both.count == pytest.approx(2 * alone)
    for window in range(90, 200):
        learned.observe(at(window), PLANNER, 2, 4.0, load=5)
    (own,) = learned._evidence(student, 5).values()
    assert own.count == pytest.approx(sum(sums.count for sums in seen[5].at.values()))


def test_each_load_has_its_own_curve_and_a_new_one_borrows() -> None:
    learned = learner()
    for window in range(60):
        for load, y in ((5, 4.0), (9, 8.0), (UNTOLD, 1.0)):
            learned.observe(at(window), PLANNER, 2, y, load=load)
        learned.refresh(at(window), {})
    student = learned.students[PLANNER]
    heights = {load: learned._evidence(student, load) for load in (5, 6, 8, 9)}
    q = {load: next(iter(e.values())) for load, e in heights.items()}
    assert {load: 2 * s.value / s.busy_s for load, s in q.items()} == pytest.approx(
        {5: 4, 6: 4, 8: 8, 9: 8}
    )


def test_a_load_is_a_doubling() -> None:
    assert load_bin(2.0) == load_bin(3.9) == load_bin(1.0) + 1
    assert load_bin(0) == 0
    assert load_bin(1e30) == LOAD_BINS - 1


def serve_both(learned, rng, part, *, seconds, start, told=True):
    """Let one bundle of twenty after the other be a draft of 3 s, or with `part` a revision of 1 s.

    All twenty are in use. Told without phases, they are all of one kind.
    """
    running = []
    for tick in range(start * 4, (start + seconds) * 4):
        now = tick * SECOND // 4
        for one in [one for one in running if one[1] <= now]:
            running.remove(one)
            learned.ended(Instant(now), end(RESPONDER, *one[:2], phase=one[2] if told else ""))
        while len(running) < 20:
            phase = "revise" if rng.random() < part else "respond"
            mean_s = {"revise": 1, "respond": 3}[phase]
            lasts = round(mean_s * float(rng.gamma(9, 1 / 9)) * SECOND)
            running.append((now, now + lasts, phase))
        learned.refresh(Instant(now), {RESPONDER: 20})


def test_phases_that_come_in_another_mix_make_another_utility_within_a_minute() -> None:
    """A tenth of revisions: a phase takes 2.8 s; six tenths: 1.8 s. Ends are seen 0.12 s later."""
    off = {}
    for told in (True, False):
        learned, rng = learner(), np.random.default_rng(7)
        serve_both(learned, rng, 0.1, seconds=120, start=0, told=told)
        assert learned.utility(RESPONDER, 20) == pytest.approx(20 / 2.92, rel=0.07)
        serve_both(learned, rng, 0.6, seconds=60, start=120, told=told)
        off[told] = abs(learned.utility(RESPONDER, 20) / (20 / 1.92) - 1)
    assert off[True] < 0.07
    assert off[False] > 0.15, "told of no phases, it has the average of all that it has seen"


def test_one_phase_is_as_none() -> None:
    curves = []
    for phase in ("", "plan"):
        learned = learner()
        serve(learned, np.random.default_rng(3), PLANNER, 6, 0.5, seconds=60, phase=phase)
        curves.append([learned.utility(PLANNER, n) for n in range(30)])
    assert curves[0] == curves[1]


def test_what_changed_is_learned_anew() -> None:
    learned, rng = learner(half_life_windows=50), np.random.default_rng(6)
    before, after = saturating(10, 4), saturating(4, 1)
    then = show(learned, rng, PLANNER, before, windows=300)
    assert error(learned, PLANNER, before) < 0.08
    show(learned, rng, PLANNER, after, windows=400, start=then)
    assert error(learned, PLANNER, after) < 0.08


def test_who_never_forgets_is_still_wrong_by_then() -> None:
    learned, rng = learner(half_life_windows=10**6), np.random.default_rng(6)
    then = show(learned, rng, PLANNER, saturating(10, 4), windows=300)
    show(learned, rng, PLANNER, saturating(4, 1), windows=400, start=then)
    assert error(learned, PLANNER, saturating(4, 1)) > 0.1


# --- what a policy relies on


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 80), st.floats(0, 50)), min_size=20, max_size=40),
    st.floats(0, 1),
    st.booleans(),
)
def test_gains_are_never_negative_and_never_grow(seen, explore, told) -> None:
    learned = learner(explore=explore)
    for window, (bundles, y) in enumerate(seen):
        if told:
            learned.arrived(at(window), PLANNER)
        learned.observe(at(window), PLANNER, bundles, y)
        learned.refresh(at(window), {})
    gains = [learned.marginal(PLANNER, n) for n in range(300)]
    assert learned.students[PLANNER].fitted is not None
    assert min(gains) >= 0
    assert all(a >= b - 1e-7 * max(1.0, gains[0]) for a, b in pairwise(gains))


def test_the_band_holds_the_truth_about_nine_times_in_ten_and_narrows() -> None:
    truth = saturating(10, 4)
    held, wide, narrow = [], [], []
    for seed in range(25):
        learned, rng = learner(), np.random.default_rng(seed)
        then = show(learned, rng, PLANNER, truth, windows=40, ns=(1, 6))
        wide.append(np.subtract(*reversed(learned.band(PLANNER, 4))))
        show(learned, rng, PLANNER, truth, windows=160, start=then, ns=(1, 6))
        narrow.append(np.subtract(*reversed(learned.band(PLANNER, 4))))
        for n in range(1, 7):
            low, high = learned.band(PLANNER, n)
            assert low <= learned.utility(PLANNER, n) <= high
            held.append(low <= truth(n) <= high)
    assert np.mean(held) > 0.85
    assert np.mean(narrow) < 0.7 * np.mean(wide)
    assert np.mean(narrow) < 0.35 * truth(4)


def test_exploring_raises_the_gain_of_what_is_less_known_by_more() -> None:
    """The planner was seen thirty times as often as the responder."""
    gains = {}
    for explore in (0.0, 0.5):
        learned, rng = learner(explore=explore), np.random.default_rng(8)
        show(learned, rng, PLANNER, saturating(10, 4), windows=600, ns=(1, 6))
        show(learned, rng, RESPONDER, saturating(10, 4), windows=20, ns=(1, 6), start=600)
        gains[explore] = [learned.marginal(agent, 0) for agent in (PLANNER, RESPONDER)]
    raised = [high / low for low, high in zip(gains[0.0], gains[0.5], strict=True)]
    assert 1 < raised[0] < 1.05
    assert raised[1] > 1.1


def test_gains_change_only_when_a_refresh_says_so() -> None:
    learned = learner(refit_us=Micros(10 * SECOND))
    show(learned, np.random.default_rng(9), PLANNER, saturating(10, 4), windows=20)
    before = learned.marginal(PLANNER, 2)
    said = []
    for window in range(21, 32):
        learned.observe(at(window), PLANNER, 3, 1.0)
        assert learned.marginal(PLANNER, 2) == before
        said.append(learned.refresh(at(window), {}))
        if said[-1]:
            break
    assert said == [False] * (len(said) - 1) + [True]
    assert len(said) > 5
    assert learned.marginal(PLANNER, 2) != before


def test_one_refresh_fits_a_few_curves_and_the_next_goes_on() -> None:
    learned = learner(refits_per_tick=2, cold_windows=1)
    agents = [AgentId(f"agent-{n}") for n in range(5)]
    for agent in agents:
        learned.observe(at(0), agent, 1, 1.0)
    fitted = []
    while learned.refresh(at(1), {}):
        fitted.append(sum(s.fitted is not None for s in learned.students.values()))
    assert fitted == [2, 4, 5]


def test_the_same_history_gives_the_same_utilities() -> None:
    one, other = learner(), learner()
    for learned in (one, other):
        show(learned, np.random.default_rng(10), PLANNER, saturating(10, 4), windows=60)
    assert one == other


# --- bounds


def test_memory_is_bounded_and_the_one_not_heard_of_for_longest_is_forgotten() -> None:
    learned = learner(agents_max=3, n_max=100)
    rng = np.random.default_rng(11)
    for window in range(400):
        load = int(rng.integers(-5, 60))
        learned.observe(at(window), PLANNER, float(rng.uniform(0.1, 500)), 1.0, load=load)
        learned.observe(at(window), AgentId(f"passing-{window}"), 1, 1.0)
        learned.refresh(at(window), {})
    assert list(learned.students) == [
        "passing-398",
        PLANNER,
        "passing-399",
    ]
    seen = learned.students[PLANNER].seen
    assert set(seen) <= set(range(UNTOLD, LOAD_BINS))
    assert all(set(s.at) <= set(range(len(learned.points))) for s in seen.values())
    assert len(learned.points) < 30
    assert set(learned.stale) <= set(learned.students)


def test_a_clock_that_goes_back_adds_no_time() -> None:
    learned = learner()
    learned.refresh(at(10), {PLANNER: 2})
    learned.ended(at(10), end(PLANNER, 9 * SECOND, 8 * SECOND))
    learned.refresh(at(5), {PLANNER: 2})
    learned.refresh(at(10), {PLANNER: 2})
    assert learned.students[PLANNER].held_us == 0


def test_terms_and_observations_out_of_range_are_bugs() -> None:
    with pytest.raises(AssertionError, match="worth"):
        LearningTerms(throughput_weight=0, deadline_weight=0)
    with pytest.raises(AssertionError, match="part"):
        replace(LearningTerms(), explore=2)
    with pytest.raises(AssertionError, match="finite"):
        learner().observe(at(0), PLANNER, 1, float("nan"))
    with pytest.raises(AssertionError, match="no bundles"):
        learner().observe(at(0), PLANNER, 0, 1)


# --- what it is for


def greedy(marginal, agents, bundles: int) -> dict[AgentId, int]:
    given_to = dict.fromkeys(agents, 0)
    for _ in range(bundles):
        best = max(agents, key=lambda a: marginal(a, given_to[a]))
        given_to[best] += 1
    return given_to


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_against_an_allocator_that_knows_falls_and_ends_within_5_per_cent(seed) -> None:
    truths = {
        PLANNER: saturating(4, 1),
        RESPONDER: saturating(20, 8),
        CHECKER: lambda n: min(0.9 * n, 5.0),
    }

    def worth(given_to) -> float:
        return sum(truths[a](n) for a, n in given_to.items())

    best = worth(greedy(lambda a, n: truths[a](n + 1) - truths[a](n), truths, 20))
    by_hand = worth(greedy(HAND_SET.marginal, truths, 20))
    learned, rng = learner(), np.random.default_rng(seed)
    losses = []
    for window in range(500):
        given_to = greedy(learned.marginal, truths, 20)
        losses.append(1 - worth(given_to) / best)
        for agent, n in given_to.items():
            if n:
                y = truths[agent](n) * float(rng.gamma(10, 0.1))
                learned.observe(at(window), agent, n, y)
        learned.refresh(at(window), given_to)
    first, last = np.mean(losses[:20]), np.mean(losses[-100:])
    assert first == pytest.approx(1 - by_hand / best)
    assert last < 0.5 * first
    assert last < 0.05
    assert max(losses) < 1 - 0.9 * by_hand / best
