"""From a pool's best to its collapse by coordination: when each detector spoke."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from statistics import median
from typing import Any

from coordsvc.bench.collapse import run as run_case
from coordsvc.bench.collapse_cases import COLLAPSING, STATIONARY, WINDOW_US, breaks_down, stays
from coordsvc.bench.collapse_figures import Run, Score, acceleration, begins, p95, score, tuned
from coordsvc.core.collapse import Detector, DetectorTerms, EarlyWarning, Level
from coordsvc.core.collapse_signs import SIGNS
from coordsvc.core.errors import BadRequest
from coordsvc.core.units import SECOND
from coordsvc.core.window import Window
from coordsvc.experiments.statistics import difference
from coordsvc.experiments.study import (
    Cell,
    Conclusion,
    Figure,
    Finding,
    Plan,
    Row,
    Say,
    Table,
    Verdict,
)

OURS, P95, NAIVE = "early warning", "p95 alarm", "acceleration of C_coord per offer"
WINDOW = tuple(field.name for field in fields(Window))
States = list[bool]
"""Whether an alarm is on, window by window."""


class Collapse:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "collapse"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for mechanisms, and kinds of quiet load, that there are not."""
        for name, known in (("mechanisms", COLLAPSING), ("quiet", STATIONARY)):
            for kind in plan.parameters[name]:
                if kind not in known:
                    there = ", ".join(dict.fromkeys(known))
                    raise BadRequest(f"{name}: there is no {kind!r}; there are {there}")

    def cells(self, plan: Plan) -> list[Cell]:
        """Return a run for each seed and mechanism, and for each seed and quiet kind of load."""
        told = plan.parameters
        kinds = [*told["mechanisms"], *told["quiet"]]
        return [
            Cell(
                key=f"{kind}, seed {seed}",
                settings={"kind": kind, "seed": seed, "windows": told["quiet_windows"]},
            )
            for seed in plan.seeds
            for kind in kinds
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Simulate it, and return its windows."""
        del say
        kind, seed = cell.settings["kind"], cell.settings["seed"]
        drifts = kind in COLLAPSING
        case = breaks_down(kind, seed) if drifts else stays(kind, seed, cell.settings["windows"])
        run = run_case(case, keep=None)
        return [
            {
                "kind": kind,
                "seed": seed,
                "window": n,
                "onset": run.onset,
                "collapse": run.collapse,
                **asdict(window),
            }
            for n, window in enumerate(run.windows)
        ]

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return how long before the collapse each alarm began."""
        del plan
        runs = list(_runs(rows))
        told = [_told(run.windows) for run in runs]
        states = {OURS: [[one.level is Level.WARNING for one in each] for each in told]}
        ours = score(runs, states[OURS])
        allowed = max(ours.per_day, 1.0)
        for name, signal in ((P95, p95), (NAIVE, acceleration)):
            alarm = tuned(signal, runs, allowed)
            states[name] = [alarm.states(run.windows) for run in runs]
        scores = {name: score(runs, each) for name, each in states.items()}
        if not ours.collapses:
            return Conclusion(verdict=Verdict.UNDECIDED, says="No run collapsed.")
        return Conclusion(
            verdict=_verdict(scores),
            says=_says(scores),
            findings=tuple(_findings(scores)),
            figures=(_timeline(runs, states), _leads(runs, states)),
            tables=(_by_mechanism(runs, states), _by_sign(runs, told)),
            summary={name: one.as_dict() for name, one in scores.items()},
        )


def _runs(rows: Sequence[Row]) -> Iterator[Run]:
    by_run: defaultdict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_run[str(row["kind"]), int(row["seed"] or 0)].append(row)
    for (kind, _), them in by_run.items():
        seen = tuple(Window(**{name: row[name] for name in WINDOW}) for row in them)
        onset, collapse = them[0]["onset"], them[0]["collapse"]
        yield Run(kind=kind, onset=onset, windows=seen, collapse=collapse)


def _told(seen: Sequence[Window]) -> list[EarlyWarning]:
    detector = Detector()
    return [detector.window(window) for window in seen]


def _verdict(scores: Mapping[str, Score]) -> Verdict:
    ours, theirs = scores[OURS].leads, scores[P95].leads
    sooner = difference(ours, theirs)
    if sooner.runs < 2:  # noqa: PLR2004 - one run decides nothing
        return Verdict.UNDECIDED
    if sooner.low > 0:
        return Verdict.CONFIRMED
    return Verdict.FALSIFIED if sooner.high <= 0 else Verdict.UNDECIDED


def _says(scores: Mapping[str, Score]) -> str:
    parts = (
        f"the {name} {one.detected:.0%}, at the median {one.median_lead:g} windows before"
        for name, one in scores.items()
    )
    quiet = scores[OURS]
    return (
        f"Of {quiet.collapses} collapses were foreseen by {'; by '.join(parts)}. The rivals were "
        f"tuned on these very runs to as few false alarms as the early warning has "
        f"({quiet.false_alarms} in {quiet.days:.2f} days), or one a day."
    )


def _findings(scores: Mapping[str, Score]) -> Iterator[Finding]:
    sooner = difference(scores[OURS].leads, scores[P95].leads)
    decided = None if sooner.low <= 0 < sooner.high else sooner.low > 0
    yield Finding(
        name="sooner_than_p95",
        value=sooner.value,
        low=sooner.low,
        high=sooner.high,
        unit="windows",
        wanted="above 0",
        met=decided,
        says="how much longer before the collapse than a p95 alarm, on average",
    )
    for name, one in scores.items():
        yield Finding(
            name=f"detected_{name}",
            value=one.detected,
            says=f"share of the collapses before which the {name} spoke",
        )
        yield Finding(
            name=f"false_alarms_{name}",
            value=one.per_day,
            unit="a day",
            says=f"false alarms of the {name}",
        )


def _lead(run: Run, on: States) -> int | None:
    """Return how many windows before its collapse an alarm began; 0 if it did not."""
    if run.onset is None or run.collapse is None:
        return None
    return next((run.collapse - n for n in begins(on) if run.onset <= n < run.collapse), 0)


def _by_mechanism(runs: Sequence[Run], states: Mapping[str, Sequence[States]]) -> Table:
    rows = []
    for kind in dict.fromkeys(run.kind for run in runs if run.onset is not None):
        cells = [kind]
        for each in states.values():
            leads = [
                lead
                for run, on in zip(runs, each, strict=True)
                if run.kind == kind and (lead := _lead(run, on)) is not None
            ]
            spoke = sum(1 for lead in leads if lead)
            cells.append(f"{spoke} of {len(leads)}, {median(leads):g}" if leads else "-")
        rows.append(tuple(cells))
    return Table(
        title="Foreseen, and windows before the collapse at the median",
        columns=("what broke the pool", *states),
        rows=tuple(rows),
    )


def _by_sign(runs: Sequence[Run], told: Sequence[Sequence[EarlyWarning]]) -> Table:
    """Return how long before the collapse each sign was first on, wherever it was."""
    rows = []
    for kind in dict.fromkeys(run.kind for run in runs if run.onset is not None):
        cells = [kind]
        for sign in SIGNS:
            leads = [
                lead
                for run, said in zip(runs, told, strict=True)
                if run.kind == kind
                and (lead := _lead(run, [one.signs[sign].on for one in said])) is not None
            ]
            there = [lead for lead in leads if lead]
            cells.append(f"{len(there)} of {len(leads)}, {median(there):g}" if there else "-")
        rows.append(tuple(cells))
    return Table(
        title="Each sign by itself: in how many collapses it came before, and by how many windows",
        columns=("what broke the pool", *SIGNS),
        rows=tuple(rows),
    )


def _timeline(runs: Sequence[Run], states: Mapping[str, Sequence[States]]) -> Figure:
    firsts: dict[str, int] = {}
    for n, run in enumerate(runs):
        if run.collapse is not None and run.onset is not None:
            firsts.setdefault(run.kind, n)
    colours = dict(zip(states, ("tab:green", "tab:orange", "tab:purple"), strict=True))

    def draw(canvas: Any) -> None:
        rows = canvas.subplots(max(1, len(firsts)), 1, sharex=False, squeeze=False)[:, 0]
        for axes, (kind, at) in zip(rows, firsts.items(), strict=False):
            run = runs[at]
            minutes = [n * WINDOW_US / SECOND / 60 for n in range(len(run.windows))]
            axes.plot(minutes, [(one.c_coord_us or 0) / SECOND for one in run.windows], color="0.3")
            axes.axhline(DetectorTerms().bound_us / SECOND, color="tab:red", linewidth=1)
            axes.axvspan(0, minutes[run.onset or 0], color="0.9")
            for name, each in states.items():
                lead = _lead(run, each[at])
                if lead:
                    where = minutes[(run.collapse or 0) - lead]
                    axes.axvline(where, color=colours[name], label=name)
            axes.axvline(
                minutes[run.collapse or 0], color="tab:red", linestyle="--", label="collapse"
            )
            axes.set_title(kind, loc="left", fontsize=9)
            axes.set_ylabel("C_coord, s")
            axes.set_yscale("log")
        rows[0].legend(fontsize=7, loc="upper left")
        rows[-1].set_xlabel("minutes")

    return Figure(
        name="timeline",
        caption="C_coord of a turn in one run of each mechanism, the drift after the grey part; "
        "when each alarm began, and the collapse.",
        draw=draw,
    )


def _leads(runs: Sequence[Run], states: Mapping[str, Sequence[States]]) -> Figure:
    leads = {
        name: [
            lead for run, on in zip(runs, each, strict=True) if (lead := _lead(run, on)) is not None
        ]
        for name, each in states.items()
    }

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for name, them in leads.items():
            ordered = sorted(them)
            part = [1 - n / len(ordered) for n in range(len(ordered))]
            axes.step(ordered, part, where="post", label=name)
        axes.set_xlabel("windows of 10 s before the collapse")
        axes.set_ylabel("share of collapses foreseen at least so long before")
        axes.set_ylim(0, 1.02)
        axes.legend()

    return Figure(
        name="leads",
        caption="How long before the collapse each alarm had begun, over all runs.",
        draw=draw,
    )
