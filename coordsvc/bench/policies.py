"""`coordsvc bench policies`: how good decisions are, in simulation, with the service's own core.

Five questions, one module each: every policy on every workload (`policies_matrix`); what sharing
gains over walls (`policies_gain`); what the order of service is worth under heavy tails, and for
deadlines (`policies_tails`); how well utilities are learned (`policies_learning`). All over seeds
that draw the same for each policy; intervals are of 95 %.

What must be shown is in `must_show`: what was reached, the target, and whether it is met.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from coordsvc.bench import policies_gain as gain
from coordsvc.bench import policies_learning as learning
from coordsvc.bench import policies_matrix as matrix
from coordsvc.bench import policies_tails as tails
from coordsvc.bench.machine import facts
from coordsvc.bench.policies_plots import write
from coordsvc.bench.policies_runs import Doing, Say, doing

SECTIONS = ("matrix", "gain", "tails", "deadlines", "learning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured. Lengths are simulated seconds."""

    seeds: int = 30
    """Of the matrix; the other sections' runs are longer, and take fewer."""
    gain_seeds: int = 4
    """At most: a load is searched for with each."""
    long_seeds: int = 10
    """At most, of heavy tails, deadlines and learning."""
    matrix_s: float = 30.0
    """Some two hundred turns in each run, six thousand in a cell."""
    window_s: float = 100.0
    """Of the mixes: long beside the limits of p95, 4.5 to 12 s."""
    tails_s: float = 600.0
    """On four slots; less on more, for as many turns."""
    learning_s: float = 200.0
    """Over which each agent has its 500 turns."""
    only: tuple[str, ...] = SECTIONS
    workers: int = 1
    plots: Path | None = None
    """Where tables and plots are written."""


QUICK = Plan(
    seeds=1,
    gain_seeds=1,
    long_seeds=1,
    matrix_s=4.0,
    window_s=4.0,
    tails_s=20.0,
    learning_s=80.0,
)
"""Short enough for a test; its figures mean nothing."""


def measure(plan: Plan, now: datetime, say: Callable[[str], None]) -> dict[str, object]:
    """Return each section's figures, and all that was to show."""
    began = time.perf_counter()
    told: dict[str, Any] = {}
    with doing(plan.workers) as do:
        for section in SECTIONS:
            if section in plan.only:
                told[section] = _section(section, plan, do, say)
    must = [shown for part in told.values() for shown in part.pop("must_show", ())]
    if plan.plots is not None:
        say(f"tables and plots to {plan.plots}")
        write(plan.plots, told)
    return {
        "ok": all(shown["ok"] for shown in must),
        "must_show": must,
        **told,
        "seeds": plan.seeds,
        "took_s": round(time.perf_counter() - began, 1),
        "machine": facts(now, ("numpy",)),
    }


def _section(section: str, plan: Plan, do: Doing[Any, Any], say: Say) -> dict[str, Any]:
    few = range(1, min(plan.seeds, plan.gain_seeds) + 1)
    some = range(1, min(plan.seeds, plan.long_seeds) + 1)
    match section:
        case "matrix":
            return matrix.measure(range(1, plan.seeds + 1), plan.matrix_s, do, say)
        case "gain":
            return gain.measure(few, plan.window_s, do, say)
        case "tails":
            return tails.tails(some, plan.tails_s, do, say)
        case "deadlines":
            return tails.deadlines(some, plan.tails_s, do, say)
        case _:
            return learning.measure(some, plan.learning_s, do, say)
