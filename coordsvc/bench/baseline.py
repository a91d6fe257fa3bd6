"""C_baseline, measured: one process, one engine, dialogues one after another.

Each dialogue is held with the engine's prefix cache kept within it, and again with nothing kept at
all, so often as asked; the order is shuffled, as a machine's speed wanders. Of a turn, the time of
its phases counts, each from the agent's first step to its last. The engine's own profile says what
it would have predicted for the same tokens; the ratio of the two is what a service corrects by.

Intervals are of 95 %, over dialogues held: phases of one dialogue are no independent draws.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product

import numpy as np

from coordsvc.bench.alone import Alone
from coordsvc.bench.dialogues import questions
from coordsvc.bench.policies_figures import interval, significant
from coordsvc.core.accounting import PhaseReport, TurnResult
from coordsvc.core.baseline import Fingerprint, predictions
from coordsvc.core.dialogue import Phase
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import SECOND
from coordsvc.ports import Clock, Engine
from coordsvc.settings import AppSettings
from coordsvc.telemetry.baselines import (
    RUNS_MIN,
    Calibration,
    PhaseFigures,
    ProfileFigures,
    Reading,
)

WARM_UP = ("Please say hello.",)
MORE = "Please go on."
"""A user with nothing left to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    dialogues: int = 8
    repeats: int = 3
    turns: int = 2
    """Turns of each dialogue."""
    seed: int = 1
    """Of the order."""

    def __post_init__(self) -> None:
        if min(self.dialogues, self.repeats, self.turns) < 1:
            raise BadRequest(
                f"{self.dialogues} dialogues of {self.turns} turns, {self.repeats} times: "
                "each of the three must be at least 1"
            )
        if self.dialogues * self.repeats < RUNS_MIN:
            raise BadRequest("one run has no interval: measure 2 dialogues, or the one 2 times")


@dataclass(frozen=True, slots=True)
class Sample:
    """One phase as it was run, and what the profile predicts for it."""

    run: int
    report: PhaseReport
    predicted_us: int


async def calibrate(
    settings: AppSettings,
    engine: Engine,
    clock: Clock,
    plan: Plan,
    *,
    now: datetime,
    fingerprint: Fingerprint,
    say: Callable[[str], None],
) -> Calibration:
    """Return what the engine, started and stopped here, takes alone for real turns."""
    say("the engine starts")
    try:
        info = await engine.start()
        kept, cold = await _held(Alone(settings, engine, clock), plan, say)
    finally:
        await engine.stop()
    profile = info.profile
    with_kept, without = _reading(kept, profile), _reading(cold, profile, kept=False)
    return Calibration(
        made=now.isoformat(timespec="seconds"),
        emulated=info.emulated or info.kind == "scripted",
        dialogues=plan.dialogues,
        repeats=plan.repeats,
        turns=plan.turns,
        seed=plan.seed,
        c_baseline_s=with_kept.c_baseline_s,
        c_baseline_cold_s=_same_read_anew(kept, without, profile),
        kept=with_kept,
        cold=without,
        profile=ProfileFigures(
            start_us=profile.start_us, prefill_us=profile.prefill_us, decode_us=profile.decode_us
        ),
        fingerprint=dict(fingerprint),
    )


Runs = list[list[TurnResult]]
"""Dialogues held, each with its turns."""


async def _held(alone: Alone, plan: Plan, say: Callable[[str], None]) -> tuple[Runs, Runs]:
    """Hold all dialogues; return those with prefixes kept, and those without."""
    await alone.talk(WARM_UP, keep=True)
    talks = [
        tuple(talk[turn] if turn < len(talk) else MORE for turn in range(plan.turns))
        for talk in questions(None, plan.dialogues)
    ]
    order = [(talk, keep) for talk, _, keep in product(talks, range(plan.repeats), (True, False))]
    runs: dict[bool, Runs] = {True: [], False: []}
    shuffled = np.random.Generator(np.random.PCG64(plan.seed)).permutation(len(order))
    for done, place in enumerate(shuffled, start=1):
        talk, keep = order[place]
        runs[keep].append(await alone.talk(talk, keep=keep))
        say(f"dialogue {done} of {len(order)}")
    return runs[True], runs[False]


def _reading(runs: Runs, profile: SoloProfile, *, kept: bool = True) -> Reading:
    samples = [
        Sample(number, report, predicted)
        for number, run in enumerate(runs)
        for turn in run
        for report, predicted in zip(
            turn.phases, predictions(_as_found(turn, kept=kept), profile), strict=True
        )
    ]
    by_phase: defaultdict[Phase, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_phase[sample.report.phase].append(sample)
    turns = sum(map(len, runs))
    a_turn = [
        sum(report.agent_us for turn in run for report in turn.phases) / len(run) / SECOND
        for run in runs
    ]
    means = interval(a_turn)
    return Reading(
        turns=turns,
        runs=len(runs),
        c_baseline_s=significant(sum(a_turn) / len(a_turn)),
        c_baseline_s_low=means["low"],
        c_baseline_s_high=means["high"],
        predicted_s=_each(turns, (one.predicted_us / SECOND for one in samples)),
        prompt_tokens=_each(turns, (one.report.prompt_tokens for one in samples)),
        cached_tokens=_each(turns, (one.report.cached_tokens for one in samples)),
        output_tokens=_each(turns, (one.report.output_tokens for one in samples)),
        together=_figures(samples),
        phases={phase: _figures(by_phase[phase]) for phase in Phase if phase in by_phase},
    )


def _as_found(turn: TurnResult, *, kept: bool) -> Sequence[PhaseReport]:
    """Return a turn's phases; where nothing was kept, none left anything for a later one."""
    return turn.phases if kept else [replace(one, shared_tokens=0) for one in turn.phases]


def _figures(samples: Sequence[Sample]) -> PhaseFigures:
    """Return the figures of phases; the ratio is of sums, so that sums are predicted right."""
    by_run: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for sample in samples:
        measured, predicted = by_run[sample.run]
        by_run[sample.run] = (measured + sample.report.agent_us, predicted + sample.predicted_us)
    reports = [sample.report for sample in samples]
    return PhaseFigures(
        phases=len(samples),
        runs=len(by_run),
        measured_s=_mean(report.agent_us / SECOND for report in reports),
        predicted_s=_mean(sample.predicted_us / SECOND for sample in samples),
        **_ratio(list(by_run.values())),
        prompt_tokens=_mean(report.prompt_tokens for report in reports),
        cached_tokens=_mean(report.cached_tokens for report in reports),
        output_tokens=_mean(report.output_tokens for report in reports),
    )


def _ratio(runs: Sequence[tuple[int, int]]) -> dict[str, float | None]:
    """Return measured over predicted, with its interval by linearisation (the delta method)."""
    measured, predicted = (sum(column) for column in zip(*runs, strict=True))
    if not (measured and predicted):
        return {"ratio": None, "ratio_low": None, "ratio_high": None}
    ratio, usual = measured / predicted, predicted / len(runs)
    about = interval([ratio + (took - ratio * said) / usual for took, said in runs])
    return {"ratio": significant(ratio), "ratio_low": about["low"], "ratio_high": about["high"]}


def _same_read_anew(runs: Runs, cold: Reading, profile: SoloProfile) -> float:
    """Return what a turn would have taken with the same tokens and nothing cached."""
    turns = [turn for run in runs for turn in run]
    total = 0
    for report in (report for turn in turns for report in turn.phases):
        found = cold.phases.get(report.phase, cold.together).baseline()
        total += found.of(profile.predict(report.prompt_tokens, report.output_tokens))
    return significant(total / len(turns) / SECOND)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return _each(len(found), found)


def _each(of: int, values: Iterable[float]) -> float:
    return significant(sum(values) / of)
