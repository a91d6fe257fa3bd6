"""An engine's compute time, cut into solo, refill and what sharing added."""

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.generation import SoloProfile, split_compute, under_adapter
from coordsvc.core.units import Micros

PROFILE = SoloProfile(start_us=1_000, prefill_us=100, decode_us=2_000)
TOKENS = st.integers(0, 5_000)
PER_TOKEN = st.floats(-10, 10_000, allow_nan=False)


def test_a_cold_phase_alone_on_its_engine_is_all_solo() -> None:
    split = split_compute(
        PROFILE,
        compute_us=Micros(31_000),
        prompt_tokens=100,
        cached_tokens=0,
        warm_tokens=0,
        output_tokens=10,
    )
    assert (split.solo_us, split.refill_us) == (31_000, 0)


def test_a_prefix_that_is_warm_elsewhere_only_must_be_refilled() -> None:
    """100 tokens of prompt, 80 warm on the best node, 30 here: 50 tokens at 100 us again."""
    split = split_compute(
        PROFILE,
        compute_us=Micros(40_000),
        prompt_tokens=100,
        cached_tokens=30,
        warm_tokens=80,
        output_tokens=10,
    )
    assert split.solo_us == 1_000 + 20 * 100 + 10 * 2_000
    assert split.refill_us == 50 * 100
    contention = 40_000 - split.solo_us - split.refill_us
    assert contention == 12_000


def test_an_engine_faster_than_its_calibration_was_alone_all_along() -> None:
    split = split_compute(
        PROFILE,
        compute_us=Micros(5_000),
        prompt_tokens=100,
        cached_tokens=0,
        warm_tokens=90,
        output_tokens=10,
    )
    assert (split.solo_us, split.refill_us) == (5_000, 0)


@given(
    st.builds(SoloProfile, start_us=PER_TOKEN, prefill_us=PER_TOKEN, decode_us=PER_TOKEN),
    st.integers(0, 10**9),
    TOKENS,
    TOKENS,
    TOKENS,
    TOKENS,
)
def test_the_three_parts_are_never_negative_and_sum_to_the_whole(
    profile: SoloProfile, compute: int, prompt: int, cached: int, warm: int, output: int
) -> None:
    split = split_compute(
        profile,
        compute_us=Micros(compute),
        prompt_tokens=prompt,
        cached_tokens=cached,
        warm_tokens=warm,
        output_tokens=output,
    )
    contention = compute - split.solo_us - split.refill_us
    assert min(split.solo_us, split.refill_us, contention) >= 0


def test_a_prediction_is_never_negative() -> None:
    assert SoloProfile(start_us=-9_000, prefill_us=1, decode_us=1).predict(5, 5) == 0


def test_a_prefix_has_another_name_under_each_adapter() -> None:
    names = {under_adapter("0123", adapter) for adapter in ("", "planner", "checker")}
    assert len(names) == 3
    assert "0123" in names, "without adapters nothing changes"
