"""A measured baseline, as if somebody had measured it."""

from typing import Any

from coordsvc.core.dialogue import Phase
from coordsvc.telemetry.baselines import Calibration, PhaseFigures, ProfileFigures, Reading

HERE = {"cpu": "abacus", "cores": "2"}


def figures(ratio: float | None = 1.25, runs: int = 4) -> PhaseFigures:
    low, high = (None, None) if runs == 1 or ratio is None else (ratio - 0.1, ratio + 0.1)
    return PhaseFigures(
        phases=runs,
        runs=runs,
        measured_s=0.5,
        predicted_s=0.4,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        prompt_tokens=100.0,
        cached_tokens=32.0,
        output_tokens=20.5,
    )


def calibration(**changes: Any) -> Calibration:
    reading = Reading(
        turns=8,
        runs=4,
        c_baseline_s=1.5,
        c_baseline_s_low=1.4,
        c_baseline_s_high=1.6,
        predicted_s=1.2,
        prompt_tokens=300.0,
        cached_tokens=64.0,
        output_tokens=60.0,
        together=figures(1.5),
        phases={Phase.PLAN: figures(), Phase.REVISE: figures(3.0, runs=1)},
    )
    usual = {
        "made": "2026-11-23T02:00:00+00:00",
        "emulated": False,
        "dialogues": 2,
        "repeats": 2,
        "turns": 2,
        "seed": 1,
        "c_baseline_s": 1.5,
        "c_baseline_cold_s": 1.7,
        "kept": reading,
        "cold": reading,
        "profile": ProfileFigures(start_us=1.0, prefill_us=2.0, decode_us=3.0),
        "fingerprint": HERE,
    }
    return Calibration(**(usual | changes))
