"""C_baseline of a turn, from what its phases read and wrote."""

import pytest

from coordsvc.core.accounting import PhaseReport
from coordsvc.core.baseline import (
    Baseline,
    PhaseBaseline,
    baseline_us,
    differences,
    predictions,
)
from coordsvc.core.dialogue import WORKER, Phase
from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import Micros, NodeId

PROFILE = SoloProfile(start_us=1_000, prefill_us=10, decode_us=100)


def phase(
    kind: Phase = Phase.PLAN, *, prompt=100, cached=0, shared=60, output=5, solo=7, adapter=""
):
    return PhaseReport(
        phase=kind,
        agent=WORKER[kind],
        node=NodeId("n1"),
        agent_us=Micros(9_000),
        compute_us=Micros(8_000),
        solo_us=Micros(solo),
        prompt_tokens=prompt,
        cached_tokens=cached,
        shared_tokens=shared,
        output_tokens=output,
        adapter=adapter,
    )


def one(ratio: float | None = 1.0, measured: int = 5_000) -> PhaseBaseline:
    return PhaseBaseline(measured_us=Micros(measured), ratio=ratio)


AS_PREDICTED = one()


def baseline(usual: PhaseBaseline = AS_PREDICTED, **phases: PhaseBaseline) -> Baseline:
    return Baseline(
        profile=PROFILE,
        phases={Phase(name): found for name, found in phases.items()},
        usual=usual,
        fingerprint={},
    )


def test_a_phase_alone_reads_all_of_its_prompt_and_writes_its_reply() -> None:
    assert list(predictions([phase()], PROFILE)) == [1_000 + 100 * 10 + 5 * 100]


def test_what_an_earlier_phase_has_read_is_not_read_again_wherever_it_ran() -> None:
    """The second phase ran on a node without the prefix: one process would have had it."""
    turn = [phase(shared=60), phase(Phase.RESPOND, prompt=120, cached=0, shared=60)]
    assert list(predictions(turn, PROFILE))[1] == 1_000 + (120 - 60) * 10 + 5 * 100


def test_what_another_adapter_has_read_is_read_again() -> None:
    phases = [phase(adapter=adapter) for adapter in ("planner", "", "planner", "")]
    assert list(predictions(phases, PROFILE)) == [2_500, 2_500, 1_900, 1_900]


def test_what_was_found_cached_counts_where_it_is_more() -> None:
    turn = [phase(shared=60), phase(Phase.CHECK, prompt=120, cached=96)]
    assert list(predictions(turn, PROFILE))[1] == 1_000 + (120 - 96) * 10 + 5 * 100


def test_no_more_is_cached_than_there_is() -> None:
    turn = [phase(prompt=100, shared=100), phase(Phase.RESPOND, prompt=50)]
    assert list(predictions(turn, PROFILE))[1] == 1_000 + 5 * 100


def test_each_kind_of_phase_is_corrected_by_its_own_ratio() -> None:
    turn = [phase(Phase.PLAN, shared=0), phase(Phase.CHECK, shared=0)]
    found = baseline(usual=one(9.0), plan=one(1.1), check=one(1.5))
    assert baseline_us(turn, found) == round(2_500 * 1.1) + round(2_500 * 1.5)


def test_a_kind_that_was_not_measured_is_corrected_as_all_together() -> None:
    assert baseline_us([phase(Phase.REVISE)], baseline(usual=one(1.2), plan=one(9.0))) == 3_000


def test_where_a_profile_predicts_nothing_the_mean_counts() -> None:
    scripted = baseline(usual=one(None, 400), plan=one(None, 70))
    assert baseline_us([phase(Phase.PLAN), phase(Phase.RESPOND)], scripted) == 470


def test_a_phase_that_happened_to_be_quick_has_no_shorter_baseline() -> None:
    """The engine's own prediction is held to what it took; a measured baseline is not."""
    assert baseline_us([phase(solo=7)], baseline()) == 2_500


def test_without_a_measurement_it_is_the_engines_own_prediction() -> None:
    assert baseline_us([phase(solo=7), phase(Phase.RESPOND, solo=5)], None) == 12


@pytest.mark.parametrize("found", [None, baseline()])
def test_no_phases_take_no_time(found: Baseline | None) -> None:
    assert baseline_us([], found) == 0


def test_fingerprints_differ_fact_by_fact() -> None:
    there = {"cpu": "A", "cores": "2", "version.torch": "2.1"}
    here = {"cpu": "B", "cores": "2", "accelerator": "H100"}
    assert differences(there, here) == (
        "accelerator: nothing there, H100 here",
        "cpu: A there, B here",
        "version.torch: 2.1 there, nothing here",
    )
    assert differences(there, dict(reversed(there.items()))) == ()
