"""A solo profile is found from a few runs, and is never negative."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import Micros
from coordsvc.engines.calibration import TRIALS, Sample, Trial, calibrate, fit, prompt

COST = st.floats(0, 1e5)


@given(COST, COST, COST)
def test_runs_of_a_linear_engine_give_its_costs_back(start, prefill, decode):
    truth = SoloProfile(start_us=start, prefill_us=prefill, decode_us=decode)
    samples = [
        Sample(t.prompt_tokens, t.output_tokens, truth.predict(t.prompt_tokens, t.output_tokens))
        for t in TRIALS
    ]
    found = fit(samples)
    for trial in (*TRIALS, Trial(100, 100)):
        wanted = truth.predict(trial.prompt_tokens, trial.output_tokens)
        got = found.predict(trial.prompt_tokens, trial.output_tokens)
        assert got == pytest.approx(wanted, rel=1e-3, abs=20)


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 100), st.integers(0, 10**7)), min_size=1)
)
def test_whatever_the_runs_no_cost_is_negative(runs):
    found = fit([Sample(a, b, Micros(c)) for a, b, c in runs])
    assert min(found.start_us, found.prefill_us, found.decode_us) >= 0


def test_a_plain_fit_would_go_below_zero_and_ours_sets_that_cost_to_zero():
    # Longer prompts ran quicker, by noise: prefill would be -10 us a token.
    samples = [
        Sample(0, 1, Micros(2_000)),
        Sample(100, 1, Micros(1_000)),
        Sample(0, 2, Micros(3_000)),
    ]
    found = fit(samples)
    assert found.prefill_us == 0
    assert found.decode_us > 0


def test_no_samples_is_a_mistake():
    with pytest.raises(ValueError, match="no samples"):
        fit([])


async def test_calibration_warms_up_then_counts_the_quickest_of_each_trial():
    truth = SoloProfile(start_us=500, prefill_us=20, decode_us=700)
    runs: list[tuple[Trial, int]] = []

    async def run(trial: Trial, seed: int) -> Micros:
        runs.append((trial, seed))
        noise = 40_000 if seed % 2 == 0 else 0
        return Micros(truth.predict(trial.prompt_tokens, trial.output_tokens) + noise)

    found = await calibrate(run, repeats=2)
    assert len(runs) == 1 + 2 * len(TRIALS)
    assert len({seed for _, seed in runs}) == len(runs), "no two runs may share a cached prompt"
    assert found.decode_us == pytest.approx(700, rel=1e-3)
    assert found.prefill_us == pytest.approx(20, rel=1e-2)
    assert found.start_us == pytest.approx(500, rel=1e-2)


def test_prompts_of_two_seeds_differ_from_the_first_block_on():
    usable = range(100, 5_000)
    a, b = prompt(1, 64, usable), prompt(2, 64, usable)
    assert a[:16] != b[:16]
    assert a == prompt(1, 64, usable)
    assert set(a) <= set(usable)
