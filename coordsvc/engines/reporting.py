"""From what an engine measured to the report that it owes."""

from coordsvc.core.generation import (
    FinishReason,
    GenerationReport,
    GenerationRequest,
    SoloProfile,
    split_compute,
)
from coordsvc.core.units import Instant, since


def report(  # noqa: PLR0913 - one argument for each thing measured
    profile: SoloProfile,
    request: GenerationRequest,
    *,
    arrived: Instant,
    scheduled: Instant,
    ended: Instant,
    finish: FinishReason,
    prompt_tokens: int,
    cached_tokens: int,
    shared_tokens: int,
    output_tokens: int,
    emulated: bool = False,
) -> GenerationReport:
    """Return the report: queue until `scheduled`, compute from then, cut by `split_compute`."""
    compute_us = since(scheduled, ended)
    split = split_compute(
        profile,
        compute_us=compute_us,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        warm_tokens=request.warm_tokens,
        output_tokens=output_tokens,
    )
    return GenerationReport(
        finish=finish,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        shared_tokens=shared_tokens,
        output_tokens=output_tokens,
        queue_us=since(arrived, scheduled),
        compute_us=compute_us,
        solo_us=split.solo_us,
        refill_us=split.refill_us,
        emulated=emulated,
    )
