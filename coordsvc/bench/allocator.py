"""`coordsvc bench allocator`: what one lease costs, and that it costs the same in a large pool.

Each pool is measured in a process of its own (`allocator_core`), so that its memory is its own.
In the same run the same leases are served in three other ways, told as ratios, theirs over ours:
by a plain re-scan of everything at each event, by a linear programme a round, and by Ray
placement groups. Last, leases through the production actor, in batches.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from coordsvc.bench import allocator_ray
from coordsvc.bench.allocator_core import Job
from coordsvc.bench.allocator_figures import against_rounds, summary
from coordsvc.bench.machine import facts
from coordsvc.core.errors import EngineBroken
from coordsvc.settings import SettingsError

NODES_MIN, NODES_MAX = 10, 100_000
"""Smaller pools are full of a lease or two; the core's own bound is the upper one."""

POLICIES = ("first_come", "round_robin")
"""Measured beside fair shares, on one pool."""
RESCAN_NODES_MAX = 10_000
"""A re-scan of more takes minutes; what it costs at these tells enough."""
RESCAN_LEASES = 60
LP_NODES, LP_DESKS, LP_ROUNDS = 1_000, 100, 21
CHILD_S_MAX = 1_800
PACKAGES = ("ray", "numpy", "highspy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured."""

    nodes: tuple[int, ...] = (100, 1_000, 10_000, 50_000)
    leases: int = 10_000
    desks: int = 1_000
    groups: int = 300
    seconds: float = 10.0
    """Of leases through the actor."""
    with_ray: bool = True


QUICK = Plan(nodes=(100, 400), leases=400, desks=100, groups=5, seconds=1.0)
"""Short enough for a test; its figures mean nothing."""


def counts(words: str) -> tuple[int, ...]:
    """Return the node counts that were named, with commas between; raise `SettingsError`."""
    try:
        named = tuple(int(word) for word in words.split(","))
    except ValueError:
        raise SettingsError(f"--nodes {words}: whole numbers, with commas between") from None
    if not all(NODES_MIN <= count <= NODES_MAX for count in named):
        raise SettingsError(f"--nodes {words}: each is from {NODES_MIN} to {NODES_MAX}")
    return named


def measure(plan: Plan, now: datetime, say: Callable[[str], None]) -> dict[str, object]:
    """Return what leases cost."""
    nodes = sorted(set(plan.nodes))
    rescanned = max((n for n in nodes if n <= RESCAN_NODES_MAX), default=nodes[0])
    pools: dict[int, dict[str, Any]] = {}
    for count in nodes:
        say(f"{count} nodes")
        rescan = RESCAN_LEASES if count == rescanned else 0
        job = Job(nodes=count, leases=plan.leases, desks=plan.desks, rescan_leases=rescan)
        pools[count] = _apart(job)
    policies = {}
    for name in POLICIES:
        say(f"{name}, {rescanned} nodes")
        job = Job(nodes=rescanned, leases=plan.leases, desks=plan.desks, policy=name)
        policies[name] = _apart(job)
    say("linear programmes")
    lp_nodes = min(LP_NODES, nodes[-1])
    rounds = _apart(Job(nodes=lp_nodes, leases=plan.leases, desks=LP_DESKS, rounds=LP_ROUNDS))
    told = summary(pools, policies, rescanned)
    told |= against_rounds(rounds)
    if plan.with_ray:
        told |= _on_ray(plan, float(pools[rescanned]["us_per_lease"]), say)
    return {**told, "leases": plan.leases, "desks": plan.desks, "machine": facts(now, PACKAGES)}


def _on_ray(plan: Plan, us_per_lease: float, say: Callable[[str], None]) -> dict[str, object]:
    say("starting Ray")
    with allocator_ray.local_ray():
        say("placement groups")
        group_us = allocator_ray.placement_group_us(plan.groups)
        say("through the actor")
        through = allocator_ray.grants(plan.seconds)
    return {
        "vs_placement_group": round(group_us / us_per_lease, 1),
        "placement_group_us": round(group_us, 1),
        "grants_per_second": through.pop("grants_per_second"),
        "through_the_actor": through,
    }


def _apart(job: Job) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "coordsvc.bench.allocator_core", json.dumps(asdict(job))]
    ran = subprocess.run(  # noqa: S603 - our own module, our own words
        command, capture_output=True, text=True, timeout=CHILD_S_MAX, check=False
    )
    if ran.returncode:
        raise EngineBroken(f"the measurement of {job} failed: {ran.stderr[-400:]}")
    told: dict[str, Any] = json.loads(ran.stdout)
    return told
