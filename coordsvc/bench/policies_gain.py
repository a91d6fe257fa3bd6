"""What sharing gains over walls, where the load moves from role to role.

The gain is bounded by the sum over roles of their peak share of the load: a wall must be as wide
as its role's peak, and so the pool must be wide enough for all peaks at once. That is so for
capacities. Two ways of measuring:

* *Saturated*: users who never think, four times as many as slots; what is served is what can be.
  The gain is the ratio of engine seconds of finished turns, and nothing but capacity is in it. It
  is taken over the second half of each window: for a while after a switch the queue that stands
  before the last window's wall is worked off beside the new load. Long windows make that nothing;
  what it is in ours is told as `gain_whole`. Users being few, a wall that is not the narrowest is
  now and then without work: walls serve a little less than 1 / bound, and a share may be above 1.
* *At a limit*: the largest offered load at which p95 over all turns is within a limit, found by
  bisection. More is in it than capacity: a narrow wall also queues more at the same utilisation
  than a wide pool, so that this gain may lie above the bound. The tighter the limit, the more of
  that; the looser, the more can be worked off in the next window of what came in this one, and
  walls seem to cost less than they do. The limit in the middle is twice the p95 of an empty pool
  (6 mean turn costs: lengths are exponential, and 3 is their p95); windows are long beside it.

A load above 1 is never called served, whatever the p95: an order that lets a few wait for ever
would look endless.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coordsvc.bench.policies_figures import interval, ratio, significant, target
from coordsvc.bench.policies_gain_runs import (
    LIMITS,
    MIXES,
    STATIC,
    USERS_PER_SLOT,
    Found,
    Search,
    Split,
    best_split,
    bound_of,
    not_served,
    p95_near_the_limit,
    saturated,
    search,
)
from coordsvc.bench.policies_runs import Doing, Say, best, by_cell, known

POLICIES = ("first_come", "round_robin", "fair_share", "slack", "virtual_finish")
"""On the shared pool. Turns of one phase `oldest_first` and `attained_service` serve as
`first_come` does, and utilities that are alike as `fair_share` does."""
AT_LIMITS = ("first_come", "fair_share", "virtual_finish")
"""One that looks at phases, one at roles, one at costs: a search takes a dozen runs."""
MAIN_LIMIT = 6.0
SHARE_MIN = 0.93


def measure(seeds: Sequence[int], window_s: float, do: Doing[Any, Any], say: Say) -> dict[str, Any]:
    """Return the gains on both mixes, and what was to show."""
    told: dict[str, Any] = {}
    must: list[dict[str, Any]] = []
    for workload in MIXES:
        say(f"gain: {workload}, the best static splits")
        first = Search(workload=workload, policy=STATIC, seed=seeds[0], window_s=window_s)
        widest = best_split(first, not_served, seeds[:2])
        quickest = best_split(first, p95_near_the_limit, seeds[:2])
        told[workload] = {
            "bound": significant(first.bound),
            "slots": MIXES[workload][1],
            "split_saturated": dict(widest),
            "split_at_limits": dict(quickest),
        }
        say(f"gain: {workload}, saturated")
        jobs = _jobs(first, POLICIES, (widest,), seeds)
        told[workload]["saturated"] = _saturated_gains(by_cell(do(saturated, jobs)), workload)
        say(f"gain: {workload}, at limits of p95")
        jobs = _jobs(first, AT_LIMITS, tuple(dict.fromkeys((quickest, widest))), seeds)
        told[workload]["at_limits"] = _limit_gains(by_cell(do(search, jobs)), workload)
        must += _shown(workload, told[workload])
    return {
        "window_s": window_s,
        "main_limit": MAIN_LIMIT,
        "share_of_bound": {name: _least_share(mix) for name, mix in told.items()},
        "mixes": told,
        "must_show": must,
    }


def _jobs(
    first: Search, policies: Sequence[str], splits: Sequence[Split], seeds: Sequence[int]
) -> list[Search]:
    """Return walls at each split, and the policies on the shared pool, for each seed."""
    jobs = [replace(first, policy=STATIC, split=split, seed=n) for split in splits for n in seeds]
    return jobs + [replace(first, policy=policy, seed=n) for policy in policies for n in seeds]


def _saturated_gains(
    found: Mapping[tuple[str, ...], Sequence[Mapping[str, float]]], workload: str
) -> dict[str, Any]:
    names = ("served", "served_whole", "p95")
    walls = {name: [run[name] for run in found[workload, STATIC]] for name in names}
    told: dict[str, Any] = {
        "users": USERS_PER_SLOT * MIXES[workload][1],
        "static": {name: interval(values) for name, values in walls.items()},
    }
    for policy in POLICIES:
        pool = {name: [run[name] for run in found[workload, policy]] for name in names}
        gain = ratio(pool["served"], walls["served"])
        told[policy] = {
            "gain": gain,
            "share_of_bound": significant(gain["mean"] / bound_of(workload)),
            "gain_whole": ratio(pool["served_whole"], walls["served_whole"]),
            "p95_vs_static": ratio(pool["p95"], walls["p95"]),
            **{name: interval(values) for name, values in pool.items()},
        }
    return told


Searched = Mapping[tuple[str, ...], Sequence[Found]]


def _limit_gains(found: Searched, workload: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for limit in LIMITS:
        base = _loads(found, workload, STATIC, limit)
        if base is None:
            told[str(limit)] = None  # nobody meets it behind walls
            continue
        row: dict[str, Any] = {"static": _near(found, workload, STATIC, limit)}
        for policy in AT_LIMITS:
            loads = _loads(found, workload, policy, limit)
            if loads is None:
                continue
            gain = ratio(loads, base)
            row[policy] = {
                "gain": gain,
                "share_of_bound": significant(gain["mean"] / bound_of(workload)),
                **_near(found, workload, policy, limit),
            }
        told[str(limit)] = row
    return told


def _loads(found: Searched, workload: str, policy: str, limit: float) -> list[float] | None:
    return known(
        None if run is None else run["load"] for run in _best_runs(found, workload, policy, limit)
    )


def _near(found: Searched, workload: str, policy: str, limit: float) -> dict[str, Any]:
    """Return the load at the limit; and latencies at the nearest load tried within it."""
    runs = [run for run in _best_runs(found, workload, policy, limit) if run is not None]
    return {name: interval([run[name] for run in runs]) for name in runs[0]}


def _best_runs(
    found: Searched, workload: str, policy: str, limit: float
) -> list[Mapping[str, float] | None]:
    """Return one run a seed: those of the split that reaches the highest load on average."""
    by_split: dict[Split, list[Mapping[str, float] | None]] = {}
    for one in found[workload, policy]:
        by_split.setdefault(one.split, []).append(one.by_limit[limit])
    return max(
        by_split.values(),
        key=lambda runs: sum(0.0 if run is None else run["load"] for run in runs),
    )


def _shown(workload: str, mix: Mapping[str, Any]) -> list[dict[str, Any]]:
    winner = _no_worse(mix["saturated"])
    one = mix["saturated"][winner]
    what = f"{workload}, saturated: {winner}, share of the bound"
    ratio_of = one["p95_vs_static"]["mean"]
    must = [
        target(what, one["share_of_bound"], SHARE_MIN, at_least=True),
        target(f"{workload}, saturated: its p95 over walls'", ratio_of, 1.0, at_least=False),
    ]
    for limit, row in mix["at_limits"].items():
        if row is None:
            continue
        shares = {name: cell["share_of_bound"] for name, cell in row.items() if name != "static"}
        winner = best(shares, largest=True)
        what = f"{workload}, p95 within {limit} mean turns: {winner}, share of the bound"
        must.append(target(what, shares[winner], SHARE_MIN, at_least=True))
    return must


def _no_worse(full: Mapping[str, Any]) -> str:
    """Return who serves most of those whose p95 is no worse than walls'; of all if there is none.

    Serving short turns first and long ones hardly ever is no way to gain.
    """
    good = [name for name in POLICIES if full[name]["p95_vs_static"]["mean"] <= 1]
    shares = {name: full[name]["share_of_bound"] for name in good or POLICIES}
    return best(shares, largest=True)


def _least_share(mix: Mapping[str, Any]) -> float:
    """Return the smallest of the best policies' shares, over all ways of measuring."""
    full = mix["saturated"]
    least: list[float] = [full[_no_worse(full)]["share_of_bound"]]
    least += [
        max(cell["share_of_bound"] for name, cell in row.items() if name != "static")
        for row in mix["at_limits"].values()
        if row is not None
    ]
    return min(least)
