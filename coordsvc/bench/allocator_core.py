"""One pool of `coordsvc bench allocator`, measured in a process of its own.

    python -m coordsvc.bench.allocator_core '{"nodes": 1000, "leases": 5000}'

prints what was measured as one JSON object. The garbage collector is left as it is in the service:
nothing is frozen, nothing is switched off; what it takes is in the figures, and told beside them.
"""

import gc
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any, TextIO

from coordsvc.bench.allocator_pool import Pool, pool
from coordsvc.bench.allocator_rescan import Rescan
from coordsvc.bench.allocator_rounds import round_of, solve
from coordsvc.bench.load import percentile
from coordsvc.core.allocator import Allocator
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import Epoch

NANOS = 1_000
"""In a microsecond."""
WARM_LEASES = 500
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be measured."""

    nodes: int
    leases: int
    desks: int = 1_000
    policy: str = "fair_share"
    rescan_leases: int = 0
    """How many leases the plain allocator serves beside, from the same state on."""
    rounds: int = 0
    """How many rounds are solved as linear programmes."""


@dataclass(slots=True)
class Collections:
    """What the garbage collector's pauses took."""

    pauses_ns: list[int] = field(default_factory=list)
    _began_ns: int = 0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        """Take note of a pause's beginning or end."""
        del info
        if phase == "start":
            self._began_ns = perf_counter_ns()
        else:
            self.pauses_ns.append(perf_counter_ns() - self._began_ns)

    def told(self, leases: int) -> dict[str, float]:
        """Return what they took of each lease, and the longest."""
        return {
            "us_per_lease": round(sum(self.pauses_ns) / NANOS / leases, 1),
            "pause_ms_max": round(max(self.pauses_ns, default=0) / 1e6, 1),
        }


def measure(job: Job) -> dict[str, object]:
    """Return the figures of one pool, in microseconds."""
    core = Allocator(Epoch("bench", 1), Terms(policy=PolicyTerms(name=job.policy)))
    told = pool(job.nodes, job.desks, core)
    told.join()
    told.fill()
    told.run(min(WARM_LEASES, job.leases))
    told.took_ns.clear()
    gc.callbacks.append(collections := Collections())
    told.run(job.leases)
    gc.callbacks.remove(collections)
    figures = summary(told, job.leases)
    figures["gc"] = collections.told(job.leases)
    figures["rss_mb"] = rss_mb_max()
    held, total = core.ledger.held.gpu_milli, core.ledger.total.gpu_milli
    figures |= {"held": round(held / total, 4), "waiting": told.waiting()}
    core.ledger.check()
    if job.rounds:
        figures["rounds"] = _rounds(core, job.rounds)
    if job.rescan_leases:
        told.handler = Rescan.of(core)
        told.took_ns.clear()
        told.run(job.rescan_leases)
        figures["rescan"] = summary(told, job.rescan_leases)
    return figures


def summary(told: Pool, leases: int) -> dict[str, object]:
    """Return what was measured of so many leases."""
    every = [took for events in told.took_ns.values() for took in events]
    return {
        **_spread(every),
        "us_per_lease": round(sum(every) / NANOS / leases, 1),
        "events": {name: _spread(events) for name, events in sorted(told.took_ns.items())},
    }


def rss_mb_max() -> float:
    """Return the most memory that this process has had, in MB; 0 where nobody says."""
    if not STATUS.exists():
        return 0.0
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return round(int(value.split()[0]) * 1_024 / 1e6, 1)
    return 0.0


def _spread(took_ns: Iterable[int]) -> dict[str, float]:
    took = [float(one) for one in took_ns]
    return {
        "median_us": round(median(took) / NANOS, 1),
        "p99_us": round(percentile(took, 0.99) / NANOS, 1),
        "max_us": round(max(took) / NANOS, 1),
    }


def _rounds(core: Allocator, count: int) -> dict[str, object]:
    told = round_of(core)
    try:
        solved = [solve(told) for _ in range(count)]
    except ImportError as error:
        return {"skipped": str(error)}
    placed = solved[0][0]
    took_us = median(took for _, took in solved)
    return {
        "round_us": round(took_us, 1),
        "leases_per_round": placed,
        "us_per_lease": round(took_us / max(1, placed), 1),
    }


def main(answer: TextIO) -> None:
    """Measure what the first argument says."""
    job = Job(**json.loads(sys.argv[1]))
    answer.write(json.dumps({"job": asdict(job), **measure(job)}) + "\n")


if __name__ == "__main__":
    # HiGHS from 1.16 on greets whoever loads it, past Python's stdout: only the answer goes there
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as alone:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        main(alone)
