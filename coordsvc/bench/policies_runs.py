"""What `coordsvc bench policies` runs: one policy on one workload, as often as there are seeds.

A seed draws the same arrivals, costs, deadlines and verdicts for each policy (common random
numbers), so that what differs between two of them is what the policies did.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from coordsvc.bench.policies_figures import whole_split
from coordsvc.core.learning import LearningTerms
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import RoleId, seconds
from coordsvc.simulation.catalogue import ROTATING, SKEW, TWO_WINDOW
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.workload import NodePlan, WorkloadTerms

LEARNED = "utility_learned"
"""`utility`, with utilities that are learned online."""
COLUMNS = (*(name for name in NAMES if name != "planned"), LEARNED)
"""What is compared. A plan is of turns that are known: its comparison is a study of its own."""
SHARED = tuple(name for name in COLUMNS if name != "static_partition")
"""Those on a shared pool: all but one."""
KNOWS = {
    "fair_share": "what each role holds",
    "utility": "what each role holds, and weights set by hand",
    LEARNED: "what each role holds, and what its phases yielded so far",
    "oldest_first": "when turns arrived",
    "attained_service": "the engine time that turns have had",
    "slack": "deadlines, and the expected rest of turns",
    "virtual_finish": "the expected rest of turns",
    "round_robin": "who was served last",
    "first_come": "when phases asked",
    "static_partition": "the shares of load, which it is given beforehand",
}
"""What each looks at, of what a service may know."""
LOOKS_AT_COSTS = ("slack", "virtual_finish")

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Doing = Callable[[Callable[[Job], Outcome], Iterable[Job]], Iterator[Outcome]]
Say = Callable[[str], None]


def alike(slots: int) -> tuple[NodePlan, ...]:
    """Return a pool of nodes with four slots each."""
    return (
        (NodePlan(count=-(-slots // 4), slots=4),) if slots % 4 == 0 else (NodePlan(slots=slots),)
    )


def policy_terms(column: str, settings: SimSettings) -> PolicyTerms:
    """Return the terms of a column; the static split is the best one for what is asked."""
    if column == LEARNED:
        return PolicyTerms(name="utility", learning=LearningTerms())
    if column == "static_partition":
        split = whole_split(peaks(settings), settings.slots)
        return PolicyTerms(name=column, partition={RoleId(r): n for r, n in split.items()})
    return PolicyTerms(name=column)


def with_policy(settings: SimSettings, column: str) -> SimSettings:
    """Return the same run under another policy."""
    return replace(settings, terms=Terms(policy=policy_terms(column, settings)))


def peaks(settings: SimSettings) -> dict[str, float]:
    """Return the largest part of the load that each child of the root ever has, relatively."""
    terms = settings.workload_terms
    shares = {"two_window": TWO_WINDOW, "rotating": ROTATING}.get(settings.workload)
    if shares is not None:
        return {f"role{n + 1}": max(share) for n, share in enumerate(zip(*shares, strict=True))}
    if settings.workload == "tenants":
        return {f"tenant{n + 1}": 1 / (n + 1) for n in range(terms.tenants)}
    return _phases(terms, skewed=settings.workload == "phase_skewed")


def _phases(terms: WorkloadTerms, *, skewed: bool) -> dict[str, float]:
    drafts = 1 + sum(terms.rejected**n for n in range(1, terms.revisions_max + 1))
    plan, rest = float(terms.plan_us), drafts * (terms.respond_us + terms.check_us)
    plan_peak, rest_peak = 1.0, 1.0
    if skewed:
        plan_peak, rest_peak = SKEW, (plan + rest - plan / SKEW) / rest
    return {
        "planner": plan_peak * plan,
        "responder": rest_peak * drafts * terms.respond_us,
        "checker": rest_peak * drafts * terms.check_us,
    }


def settings_of(
    workload: str, seed: int, *, load: float, run_s: float, slots: int | None = None
) -> SimSettings:
    """Return a run of a workload; a tenth of it passes before anything is measured."""
    return SimSettings(
        workload=workload,
        seed=seed,
        load=load,
        lasts_us=seconds(run_s),
        warm_us=seconds(run_s / 10),
        nodes=() if slots is None else alike(slots),
    )


@contextmanager
def doing(workers: int) -> Iterator[Doing[Any, Any]]:
    """Give what does jobs, in order: here, or in so many processes."""
    if workers == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield partial(pool.imap, chunksize=1)


def by_cell(
    outcomes: Iterable[tuple[tuple[str, ...], Outcome]],
) -> dict[tuple[str, ...], list[Outcome]]:
    """Return outcomes by their cell, in the order that they came."""
    found: dict[tuple[str, ...], list[Outcome]] = {}
    for cell, outcome in outcomes:
        found.setdefault(cell, []).append(outcome)
    return found


def milliseconds(us: int | None) -> float | None:
    """Return the same in milliseconds."""
    return None if us is None else us / 1_000


def known(values: Iterable[float | None]) -> list[float] | None:
    """Return the values if none is missing: a mean over the seeds that went well is no mean."""
    all_of_them = list(values)
    there = [value for value in all_of_them if value is not None]
    return there if there and len(there) == len(all_of_them) else None


def best(of: Mapping[str, float], *, largest: bool) -> str:
    """Return the name with the best number, the first of equals."""
    return min(of, key=lambda name: (-of[name] if largest else of[name], name))
