"""The solo cost of an engine, fitted from a few runs that had it for themselves.

The model is linear (`SoloProfile`): time = start + prefill * uncached + decode * output. Least
squares with no cost below zero: with three unknowns there are seven sets of costs that may be
positive, so all are tried, and the best fit without a negative one is kept.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import Micros


@dataclass(frozen=True, slots=True)
class Trial:
    """A run to make: so many prompt tokens that miss the cache, so many output tokens."""

    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A run made: what it took in and gave out, and how long it computed."""

    uncached_tokens: int
    output_tokens: int
    compute_us: Micros


TRIALS = (Trial(8, 2), Trial(8, 24), Trial(160, 2), Trial(80, 12))
"""Far apart in both directions, and short: about 0.6 s for SmolLM2 on 2 cores."""


def fit(samples: Sequence[Sample]) -> SoloProfile:
    """Return the costs, none negative, with the least squared error over `samples`."""
    if not samples:
        msg = "a profile cannot be fitted to no samples"
        raise ValueError(msg)
    inputs = np.array([[1.0, s.uncached_tokens, s.output_tokens] for s in samples])
    times = np.array([float(s.compute_us) for s in samples])
    best, best_error = np.zeros(3), float(times @ times)
    for size in (1, 2, 3):
        for columns in combinations(range(3), size):
            chosen = list(columns)
            costs = np.zeros(3)
            costs[chosen] = np.linalg.lstsq(inputs[:, chosen], times, rcond=None)[0]
            residual = times - inputs @ costs
            error = float(residual @ residual)
            # A set that is no better but larger must not win by rounding.
            if costs.min() >= 0 and error < best_error - 1e-6:
                best, best_error = costs, error
    start, prefill, decode = (float(cost) for cost in best)
    return SoloProfile(start_us=start, prefill_us=prefill, decode_us=decode)


def prompt(seed: int, tokens: int, usable: Sequence[int]) -> list[int]:
    """Return `tokens` ids out of `usable`, different for every `seed`, so that no cache holds them.

    Text is not needed: the time of a token does not depend on which it is.
    """
    chosen = np.random.default_rng(seed).integers(0, len(usable), tokens)
    return [usable[index] for index in chosen]


async def calibrate(
    run: Callable[[Trial, int], Awaitable[Micros]],
    *,
    repeats: int,
    trials: Sequence[Trial] = TRIALS,
) -> SoloProfile:
    """Return the profile fitted to the quickest of `repeats` runs of each trial.

    `run(trial, seed)` answers the compute time of one run; a first one warms up and is not counted.
    """
    await run(trials[-1], 0)
    samples, seed = [], 0
    for trial in trials:
        quickest: Micros | None = None
        for _ in range(repeats):
            seed += 1
            took = await run(trial, seed)
            quickest = took if quickest is None else min(quickest, took)
        assert quickest is not None
        samples.append(Sample(trial.prompt_tokens, trial.output_tokens, quickest))
    return fit(samples)
