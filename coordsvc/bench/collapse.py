"""`coordsvc bench collapse`: whether the early warning comes before the collapse, and only then.

Pools that break down and pools that do not (`bench.collapse_cases`), in the project's simulation:
the production allocator, desks, guards and dialogues on a clock that jumps. Each run is cut into
windows, as a service's instruments would; the detector is told one window after another, and
nothing else. What it said is held against the truth afterwards (`bench.collapse_figures`).

The terms of the detector were tuned on seeds below `REPORTED` and from `TUNING` on. What it is
compared with is tuned on the very runs that are reported: its thresholds could not be better.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import partial
from hashlib import sha256
from math import exp
from pathlib import Path

from coordsvc.bench.collapse_cases import WINDOW_US, Case, collapsing, stationary
from coordsvc.bench.collapse_figures import (
    Run,
    Score,
    Signal,
    acceleration,
    collapse_of,
    p95,
    score,
    tuned,
)
from coordsvc.bench.machine import facts
from coordsvc.bench.policies_runs import doing
from coordsvc.core.collapse import Detector, DetectorTerms, EarlyWarning, Level
from coordsvc.core.units import SECOND
from coordsvc.core.window import Window
from coordsvc.simulation.windows import windows
from coordsvc.simulation.world import World

REPORTED = 2_001
"""The first seed of those that are reported. Smaller ones were looked at while tuning."""
TUNING = 10_000
"""The first of those that the detector was tuned on; `--tuning` takes them again."""
APART = 1_000
"""From the first collapse's seed to the first stationary run's."""
PER_DAY = 1.0
"""False alarms in a day that any alarm may raise."""
SURE = 0.95

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is run."""

    runs: int = 200
    """Collapses."""
    quiet: int = 200
    """Stationary runs."""
    windows: int = 50
    """Of a stationary run; a diurnal one has eight times as many."""
    workers: int = 2
    tuning: bool = False
    keep: Path | None = None
    """Where the windows of each run are kept; what is there already is not run again."""

    @property
    def seed(self) -> int:
        """Of the first collapse."""
        return TUNING if self.tuning else REPORTED

    def cases(self) -> list[Case]:
        """Return all that is to be run."""
        quiet = stationary(self.quiet, self.seed + APART, self.windows)
        return collapsing(self.runs, self.seed) + quiet


def measure(plan: Plan, now: datetime, say: Say) -> dict[str, object]:
    """Return what the early warning was worth in all the runs of the plan."""
    runs = list(_runs(plan, say))
    say("what the alarms said")
    return {**figures(runs), "seeds": _seeds(plan), "machine": facts(now, ("numpy",))}


def figures(runs: Sequence[Run]) -> dict[str, object]:
    """Return what the early warning was worth in these runs, and what others would have been."""
    told = [_told(run.windows) for run in runs]
    alarms = [[one.level is Level.WARNING for one in each] for each in told]
    whole = score(runs, alarms)
    allowed = max(PER_DAY, whole.per_day)
    return {
        "collapses": whole.collapses,
        **whole.as_dict(),
        "false_alarms_per_day_most": round(_most(whole.false_alarms) / max(whole.days, 1e-9), 2),
        "lead_windows_p10": _quantile(whole.leads, 0.1),
        "stationary_days": round(whole.days, 3),
        "window_s": WINDOW_US / SECOND,
        "mechanisms": _by_kind(runs, alarms, told, drifting=True),
        "stationary": _by_kind(runs, alarms, told, drifting=False),
        "p95_alarm": _rival(p95, runs, allowed),
        "naive": _rival(acceleration, runs, allowed),
        "without_collapse": sum(1 for r in runs if r.onset is not None and r.collapse is None),
        "stationary_crossed": sum(1 for r in runs if r.onset is None and r.collapse is not None),
    }


def run(case: Case, keep: Path | None) -> Run:
    """Return what a case came to: of a collapse, no more than shows that it has come."""
    bound = DetectorTerms().bound_us
    if (seen := _kept(case, keep)) is None:
        seen = []
        for window in windows(World(case.settings), WINDOW_US, bound, case.dial()):
            seen.append(window)
            if case.onset is not None and collapse_of(seen, bound) is not None:
                break
        _keep(case, keep, seen)
    collapse = collapse_of(seen, bound)
    return Run(kind=case.kind, onset=case.onset, windows=tuple(seen), collapse=collapse)


def _runs(plan: Plan, say: Say) -> Iterator[Run]:
    cases = plan.cases()
    with doing(plan.workers) as do:
        for n, done in enumerate(do(partial(run, keep=plan.keep), cases), start=1):
            if n % 20 == 0:
                say(f"{n} of {len(cases)} runs")
            yield done


def _file(case: Case, keep: Path) -> Path:
    told = {one.name: getattr(case.settings, one.name) for one in fields(case.settings)}
    del told["make_policy"]  # a function's repr has its address, another in each process
    digest = sha256(repr((told, case.onset, case.ends)).encode()).hexdigest()[:12]
    return keep / f"{case.kind}-{case.settings.seed}-{digest}.json"


def _kept(case: Case, keep: Path | None) -> list[Window] | None:
    if keep is None or not (file := _file(case, keep)).exists():
        return None
    return [Window(**one) for one in json.loads(file.read_text(encoding="utf-8"))]


def _keep(case: Case, keep: Path | None, seen: Sequence[Window]) -> None:
    """Write the windows where they are kept: whole, or not at all."""
    if keep is None:
        return
    keep.mkdir(parents=True, exist_ok=True)
    file = _file(case, keep)
    half = file.with_suffix(".part")
    half.write_text(json.dumps([asdict(one) for one in seen]), encoding="utf-8")
    half.replace(file)


def _told(seen: Sequence[Window]) -> list[EarlyWarning]:
    detector = Detector()
    return [detector.window(window) for window in seen]


def _by_kind(
    runs: Sequence[Run],
    alarms: Sequence[Sequence[bool]],
    told: Sequence[Sequence[EarlyWarning]],
    *,
    drifting: bool,
) -> dict[str, object]:
    found: dict[str, object] = {}
    kinds = dict.fromkeys(run.kind for run in runs if (run.onset is not None) is drifting)
    for kind in kinds:
        at = [n for n, run in enumerate(runs) if run.kind == kind]
        came = score([runs[n] for n in at], [alarms[n] for n in at])
        if drifting:
            signs = _signs([runs[n] for n in at], [told[n] for n in at])
            found[kind] = {"runs": len(at), **_of_collapses(came), "signs": signs}
        else:
            found[kind] = {
                "runs": len(at),
                "days": round(came.days, 3),
                "false_alarms": came.false_alarms,
            }
    return found


def _of_collapses(came: Score) -> dict[str, object]:
    return {
        "collapses": came.collapses,
        "detected": round(came.detected, 3),
        "median_lead_windows": came.median_lead,
        "early": came.false_alarms,
    }


def _signs(runs: Sequence[Run], told: Sequence[Sequence[EarlyWarning]]) -> dict[str, int]:
    """Return in how many of the runs each sign was on when the warning began."""
    counts: Counter[str] = Counter()
    for each, said in zip(runs, told, strict=True):
        first = next(
            (
                one
                for one in said[each.onset : each.collapse]
                if one.level is Level.WARNING and any(sign.on for sign in one.signs.values())
            ),
            None,
        )
        if first is not None:
            counts.update(name for name, sign in first.signs.items() if sign.on)
    return dict(sorted(counts.items()))


def _rival(signal: Signal, runs: Sequence[Run], per_day: float) -> dict[str, object]:
    """Return the best that an alarm on one figure comes to, tuned on these very runs."""
    alarm = tuned(signal, runs, per_day)
    came = score(runs, [alarm.states(run.windows) for run in runs])
    return {**came.as_dict(), "above": round(alarm.above, 3), "windows_on_end": alarm.persist}


def _most(count: int) -> float:
    """Return the largest mean of which a Poisson number this small comes once in twenty times."""
    low, high = 0.0, 10.0 + 3.0 * count
    for _ in range(60):
        mean = (low + high) / 2
        term = total = exp(-mean)
        for n in range(1, count + 1):
            term *= mean / n
            total += term
        low, high = (mean, high) if total > 1 - SURE else (low, mean)
    return high


def _quantile(leads: Sequence[int], part: float) -> int | None:
    ordered = sorted(leads)
    return ordered[int(part * len(ordered))] if ordered else None


def _seeds(plan: Plan) -> dict[str, object]:
    first = plan.seed
    return {
        "collapses": [first, first + plan.runs - 1],
        "stationary": [first + APART, first + APART + plan.quiet - 1],
        "tuned_on": f"below {REPORTED}, and from {TUNING} on",
    }
