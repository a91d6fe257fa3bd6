"""Plans made ahead by a solver against rules: how much less agents' regret varies, and why."""

from collections.abc import Mapping, Sequence
from itertools import product
from time import perf_counter
from typing import Any

from coordsvc.core.errors import BadRequest
from coordsvc.experiments.statistics import Interval
from coordsvc.experiments.studies.message_schedule_findings import (
    BASE,
    CLAIM,
    DECIDING,
    FREE,
    HIGH,
    LOW,
    chosen,
    five,
    interval,
    known,
)
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
from coordsvc.solvers import cp_sat, milp_pulp
from coordsvc.solvers.baselines import (
    FirstCome,
    Offers,
    OldestRound,
    Planned,
    RoundRobin,
    SlackFirst,
)
from coordsvc.solvers.compare import disturbed, executed_variance, gain, planned_gain
from coordsvc.solvers.execute import Rule, execute, faults
from coordsvc.solvers.generator import Shape, generate
from coordsvc.solvers.instance import Instance
from coordsvc.solvers.regret import regrets, totals, utilisation, variance

VARIANTS: Mapping[str, Shape] = {
    BASE: Shape(),
    "messages_1": Shape(messages=1),
    FREE: Shape(messages=None),
    "load_0.6": Shape(load=0.6),
    "load_0.95": Shape(load=0.95),
    "rounds_8": Shape(rounds=8),
    "rounds_12": Shape(rounds=12),
    "independent": Shape(topology="independent"),
    "central": Shape(topology="central"),
    "peer": Shape(topology="peer"),
}
BASELINES: Mapping[str, Rule] = {"offers": Offers(), "round_robin": RoundRobin()}


class MessageSchedule:
    """The study."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        return "message-schedule"

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for a variant or baseline that there is not."""
        for what, there in (("variants", VARIANTS), ("baselines", BASELINES)):
            for name in plan.parameters[what]:
                if name not in there:
                    raise BadRequest(f"{what}: there is no {name!r}; there are {', '.join(there)}")
        both = set(plan.seeds) & set(plan.parameters["table_seeds"])
        if both:
            raise BadRequest(f"seed {min(both)} is of the table: intervals need other seeds")

    def cells(self, plan: Plan) -> list[Cell]:
        """Return a plan for each variant, baseline and seed, and those for fidelity."""
        told = plan.parameters
        seeds = [*told["table_seeds"], *plan.seeds]
        asked = [
            ("cp_sat", variant, baseline, seed)
            for variant, baseline, seed in product(told["variants"], told["baselines"], seeds)
        ]
        if told["fidelity_s"] > 0:
            asked += [("pulp_cbc", BASE, DECIDING, seed) for seed in told["table_seeds"][:1]]
        return [
            Cell(
                key=f"{solver}, {variant}, against {baseline}, seed {seed}",
                settings={
                    **{name: told[name] for name in _USED},
                    "solver": solver,
                    "variant": variant,
                    "baseline": baseline,
                    "seed": seed,
                    "table": seed in told["table_seeds"],
                },
            )
            for solver, variant, baseline, seed in asked
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Plan it, check the plan apart from the solver, and execute it."""
        told = cell.settings
        instance = generate(VARIANTS[told["variant"]], told["seed"])
        baseline = BASELINES[told["baseline"]]
        before = execute(instance, baseline)
        begun = perf_counter()
        made = _plan(instance, told)
        wall = perf_counter() - begun
        say(f"{cell.key}: {made.status} after {wall:.1f} s")
        now, alone = regrets(instance, made.schedule), regrets(instance, before)
        worse = zip(totals(instance, made.schedule), totals(instance, before), strict=True)
        return [
            {
                **{name: told[name] for name in ("variant", "seed", "table", "baseline", "solver")},
                "status": made.status,
                "gap": made.gap,
                "wall_s": wall,
                "planned_d": planned_gain(instance, made.schedule, before),
                **_executed(instance, told, Planned(plan=made.schedule), baseline),
                "use": utilisation(instance, made.schedule) / utilisation(instance, before),
                "worse_off": sum(ours > theirs for ours, theirs in worse),
                "mean_regret": sum(now) / len(now),
                "max_regret": max(now),
                "base_mean_regret": sum(alone) / len(alone),
                "base_variance": variance(alone),
                "faults": len(faults(instance, made.schedule)),
            }
        ]

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return the five tests and the verdict of the base variant."""
        del plan
        base = chosen(rows, BASE)
        executed = interval(base, "executed_d")
        tests = five(rows)
        return Conclusion(
            verdict=_verdict(tests),
            says=_says(executed, tests),
            findings=(*tests, *_shown(base)),
            figures=tuple(_figures(rows)),
            tables=(_variants(rows), _seeds(rows)),
            summary={"tests": {one.name: one.met for one in tests}},
        )


_USED = ("effort", "draws", "fidelity_s", "fidelity_grain")


def _plan(instance: Instance, told: Mapping[str, Any]) -> cp_sat.Planning:
    before = execute(instance, BASELINES[told["baseline"]])
    if told["solver"] == "cp_sat":
        return cp_sat.plan(instance, before, effort=told["effort"])
    return milp_pulp.plan(
        instance, before, seconds=told["fidelity_s"], grain=told["fidelity_grain"]
    )


def _executed(
    instance: Instance, told: Mapping[str, Any], planned: Rule, baseline: Rule
) -> dict[str, float | None]:
    came = disturbed(instance, told["seed"], told["draws"])
    base = executed_variance(came, baseline)
    rules: dict[str, Rule] = {
        "executed_d": planned,
        "oldest_d": OldestRound(),
        "slack_d": SlackFirst(known=instance),
        "first_come_d": FirstCome(),
    }
    return {name: gain(executed_variance(came, rule), base) for name, rule in rules.items()}


def _verdict(tests: Sequence[Finding]) -> Verdict:
    """Return confirmed if all five tests are met, falsified if one is not."""
    if any(one.met is False for one in tests):
        return Verdict.FALSIFIED
    return Verdict.CONFIRMED if all(one.met for one in tests) else Verdict.UNDECIDED


def _says(executed: Interval | None, tests: Sequence[Finding]) -> str:
    if executed is None:
        return "There are too few seeds of the base variant for an interval."
    failed = [one.name for one in tests if one.met is False]
    left = [one.name for one in tests if one.met is None]
    told = [f"Executed D against DRF offers is {executed.shown()}; the claim was {CLAIM}."]
    if failed:
        told.append(f"Not met: {', '.join(failed)}.")
    if left:
        told.append(f"Left open: {', '.join(left)}.")
    told.append("The paper it is attributed to does not exist as described: no reproduction.")
    return " ".join(told)


def _shown(base: Sequence[Row]) -> list[Finding]:
    named = {
        "planned_d": "D of the plan when all durations come as planned",
        "oldest_d": "executed D of oldest-round-first",
        "slack_d": "executed D of slack-first",
        "first_come_d": "executed D of first come, first served",
    }
    made = []
    for name, says in named.items():
        found = interval(base, name)
        if found is not None:
            made.append(
                Finding(name=name, value=found.value, low=found.low, high=found.high, says=says)
            )
    return made


def _kinds(rows: Sequence[Row]) -> list[tuple[str, str]]:
    ours = (row for row in rows if row["solver"] == "cp_sat")
    return list(dict.fromkeys((str(row["variant"]), str(row["baseline"])) for row in ours))


def _variants(rows: Sequence[Row]) -> Table:
    told = []
    for variant, baseline in _kinds(rows):
        them = chosen(rows, variant, baseline=baseline)
        names = ("planned_d", "executed_d", "oldest_d", "slack_d", "first_come_d")
        cells = (interval(them, name) for name in names)
        proven = sum(row["status"] == "OPTIMAL" for row in them)
        seeds = len(known(them, "executed_d"))
        told.append(
            (
                variant,
                baseline,
                *("-" if one is None else one.shown(2) for one in cells),
                f"{proven} of {len(them)}",
                f"{seeds}",
            )
        )
    return Table(
        title="D by variant and baseline, with 95 % intervals over the seeds",
        columns=(
            "variant",
            "against",
            "planned",
            "executed",
            "oldest round",
            "slack",
            "first come",
            "proven optimal",
            "seeds with D",
        ),
        rows=tuple(told),
    )


def _seeds(rows: Sequence[Row]) -> Table:
    names = ("planned_d", "executed_d", "oldest_d", "use", "gap", "wall_s")
    return Table(
        title="The table's seeds, base variant",
        columns=("seed", "against", "solver", "status", *names),
        rows=tuple(
            (
                *(str(row[name]) for name in ("seed", "baseline", "solver", "status")),
                *(_short(row[name]) for name in names),
            )
            for row in rows
            if row["table"] and row["variant"] == BASE
        ),
    )


def _short(value: float | str | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "-"


def _figures(rows: Sequence[Row]) -> list[Figure]:
    def gains(canvas: Any) -> None:
        axes = canvas.subplots()
        kinds = [variant for variant, baseline in _kinds(rows) if baseline == DECIDING]
        names = {"planned_d": "planned", "executed_d": "executed", "oldest_d": "oldest round first"}
        for place, (name, label) in enumerate(names.items()):
            found = [(at, interval(chosen(rows, one), name)) for at, one in enumerate(kinds)]
            there = [(at, one) for at, one in found if one is not None]
            axes.errorbar(
                [at + 0.2 * (place - 1) for at, _ in there],
                [one.value for _, one in there],
                yerr=[
                    [one.value - one.low for _, one in there],
                    [one.high - one.value for _, one in there],
                ],
                fmt="o",
                capsize=3,
                label=label,
            )
        axes.axhspan(LOW, HIGH, alpha=0.15, color="tab:gray", label="claim")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(kinds)), kinds, rotation=20)
        axes.set_ylabel("D against DRF offers")
        axes.legend(fontsize=8)

    return [
        Figure(
            name="gains",
            caption="D by variant, against DRF offers; 95 % over the seeds.",
            draw=gains,
        )
    ]
