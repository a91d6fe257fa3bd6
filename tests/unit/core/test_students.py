"""What is known of an agent, by phase, and how it is put together by the phases' recent mix."""

import numpy as np
import pytest

from coordsvc.core.concave import Sums
from coordsvc.core.students import NO_PHASE, Seen, Student, blend

DRAFT, REVISE = "respond", "revise"


def grants(held_s: float, count: int, worth: float = 1.0) -> Sums:
    sums = Sums()
    for _ in range(count):
        sums.take(worth, held_s)
    return sums


def a_bundle_yields(sums: Sums) -> float:
    return sums.value / sums.busy_s


# --- the mix


def test_the_mix_is_what_ended_lately() -> None:
    student = Student()
    for _ in range(40):
        student.mixed({DRAFT: grants(1, 30), REVISE: grants(1, 10)}, half_life=100, phases_max=8)
    assert student.mix[DRAFT] / sum(student.mix.values()) == pytest.approx(0.75)
    for _ in range(5):
        student.mixed({REVISE: grants(1, 20)}, half_life=100, phases_max=8)
    assert student.mix[DRAFT] / sum(student.mix.values()) == pytest.approx(0.375, abs=0.02)


def test_a_phase_that_comes_no_more_is_forgotten() -> None:
    student = Student()
    student.mixed({DRAFT: grants(1, 10)}, half_life=10, phases_max=8)
    for _ in range(20):
        student.mixed({REVISE: grants(1, 10)}, half_life=10, phases_max=8)
    assert set(student.mix) == {REVISE}


# --- putting phases together


def test_of_one_phase_all_is_as_it_was_seen() -> None:
    at = {0: grants(2, 7), 3: grants(4, 5)}
    assert blend({NO_PHASE: at}, {}) == at
    assert blend({NO_PHASE: {}, DRAFT: at}, {DRAFT: 3.0}) == at


def test_phases_are_weighed_by_the_mix_and_not_by_how_often_they_were_seen_there() -> None:
    """Drafts take 3 s and revisions 1 s; nine of ten that were seen are drafts, of late one is."""
    seen = {DRAFT: {2: grants(3, 900)}, REVISE: {2: grants(1, 100)}}
    as_seen = blend(seen, {DRAFT: 90.0, REVISE: 10.0})[2]
    of_late = blend(seen, {DRAFT: 10.0, REVISE: 90.0})[2]
    assert a_bundle_yields(as_seen) == pytest.approx(1 / 2.8)
    assert as_seen.count == pytest.approx(1_000, rel=0.01)
    assert a_bundle_yields(of_late) == pytest.approx(1 / 1.2)
    assert 100 < of_late.count < 150, "the revisions, of which it is most, were seldom seen"


def test_where_one_phase_alone_was_seen_the_other_is_thought_to_be_as_elsewhere() -> None:
    seen = {DRAFT: {2: grants(3, 100), 5: grants(3, 100)}, REVISE: {2: grants(1, 100)}}
    blended = blend(seen, {DRAFT: 1.0, REVISE: 1.0})
    assert {place: a_bundle_yields(sums) for place, sums in blended.items()} == pytest.approx(
        {2: 0.5, 5: 0.5}
    )
    assert blended[2].count > 100
    assert 3 < blended[5].count < 5, "it is a guess"


def test_a_phase_that_does_not_come_any_more_counts_for_nothing() -> None:
    seen = {DRAFT: {1: grants(3, 50), 4: grants(3, 50)}, REVISE: {1: grants(1, 20)}}
    assert set(blend(seen, {REVISE: 4.0})) == {1}
    assert a_bundle_yields(blend(seen, {REVISE: 4.0})[1]) == pytest.approx(1)


def test_with_no_mix_at_all_phases_count_as_often_as_they_were_seen() -> None:
    blended = blend({DRAFT: {1: grants(3, 30)}, REVISE: {1: grants(1, 10)}}, {})
    assert a_bundle_yields(blended[1]) == pytest.approx(1 / 2.5)


def test_a_blend_is_as_certain_as_it_says() -> None:
    """The scatter of many blends' yields is that of a plain sample of as many grants."""
    rng = np.random.default_rng(1)
    yields, counts = [], []
    for _ in range(400):
        seen: dict[str, dict[int, Sums]] = {DRAFT: {0: Sums()}, REVISE: {0: Sums()}}
        for phase, count, mean_s in ((DRAFT, 80, 1.0), (REVISE, 20, 1.0)):
            for _ in range(count):
                seen[phase][0].take(1.0, float(rng.exponential(mean_s)))
        blended = blend(seen, {DRAFT: 0.5, REVISE: 0.5})[0]
        yields.append(blended.busy_s / blended.count)
        counts.append(blended.count)
    assert np.mean(counts) == pytest.approx(64, rel=0.1)
    assert np.std(yields) == pytest.approx(1 / np.mean(counts) ** 0.5, rel=0.15)


# --- bounds


def test_a_flood_of_phases_takes_no_room() -> None:
    student, seen = Student(), Seen()
    for number in range(50):
        student.ended(f"phase-{number}", 1.0, 1.0, phases_max=4)
    ends = student.window()
    assert set(ends) == {NO_PHASE, *(f"phase-{number}" for number in range(4))}
    assert ends[NO_PHASE].count == 46
    flood = {f"other-{number}": grants(1, 1) for number in range(50)}
    for one in (ends, flood):
        student.mixed(one, half_life=10**6, phases_max=4)
        seen.book(one, [(0, 0.5), (1, 0.5)], phases_max=4)
    assert len(student.mix) == len(seen.by_phase) + 1 == 5
    assert sum(student.mix.values()) == pytest.approx(100, rel=0.01)
    assert sum(sums.count for _, at in seen.phases() for sums in at.values()) == 100


def test_what_has_faded_is_forgotten() -> None:
    seen = Seen()
    seen.book({NO_PHASE: grants(1, 1), DRAFT: grants(1, 1)}, [(0, 1.0)], phases_max=4)
    seen.fade(0.5)
    assert (seen.windows, seen.at[0].count, seen.by_phase[DRAFT][0].count) == (0.5, 0.5, 0.5)
    seen.fade(1e-4)
    assert (seen.at, seen.by_phase) == ({}, {})
