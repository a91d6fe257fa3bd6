"""A report closes: queue and compute from three instants, and the cut of compute."""

from coordsvc.clock import MonotonicClock
from coordsvc.core.generation import FinishReason, GenerationRequest, SoloProfile
from coordsvc.core.units import Instant
from coordsvc.engines.reporting import report

PROFILE = SoloProfile(start_us=100, prefill_us=10, decode_us=50)


def told(ended: int, warm_tokens: int = 0, cached_tokens: int = 0):
    return report(
        PROFILE,
        GenerationRequest(messages=(), max_new_tokens=4, warm_tokens=warm_tokens),
        arrived=Instant(1_000),
        scheduled=Instant(1_500),
        ended=Instant(ended),
        finish=FinishReason.LENGTH,
        prompt_tokens=20,
        cached_tokens=cached_tokens,
        shared_tokens=7,
        output_tokens=4,
    )


def test_waiting_is_queue_and_the_rest_is_compute():
    found = told(ended=2_500)
    assert (found.queue_us, found.compute_us, found.solo_us) == (500, 1_000, 100 + 200 + 200)
    assert (found.refill_us, found.shared_tokens, found.emulated) == (0, 7, False)


def test_a_prefix_cached_elsewhere_is_refill_here():
    found = told(ended=2_500, warm_tokens=16, cached_tokens=6)
    assert (found.solo_us, found.refill_us) == (100 + 40 + 200, 100)


def test_solo_is_never_more_than_what_it_took():
    assert told(ended=1_700).solo_us == 200


def test_the_clock_never_steps_back():
    clock = MonotonicClock()
    assert clock.now() <= clock.now()
