"""The runs by which a gain is found: a load searched for, a pool that is never idle, best walls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from coordsvc.bench.policies_figures import crossing, neighbours, whole_split
from coordsvc.bench.policies_runs import alike, peaks
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, RoleId, seconds
from coordsvc.simulation.catalogue import ROTATING, TWO_WINDOW
from coordsvc.simulation.results import percentile
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.workload import WorkloadTerms
from coordsvc.simulation.world import World

MIXES = {"two_window": (TWO_WINDOW, 16), "rotating": (ROTATING, 12)}
"""Shares by window, and slots: as many as the best split divides without a remainder."""
STATIC = "static_partition"
LIMITS = (4.5, 6.0, 12.0)
"""In mean turn costs."""
USERS_PER_SLOT = 4
"""The more there are, the nearer walls come to serving 1 / bound of what the pool could."""
SWITCH_US = 10 * SECOND
"""How long after a switch counts as its first moments."""
GRID = 8
"""A bisection's last interval is this part of its first; between its ends it is interpolated."""

Split = tuple[tuple[str, int], ...]
"""Slots by role."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, of which static split."""

    split: Split
    by_limit: Mapping[float, Mapping[str, float] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Find the loads at which one policy reaches the limits, for one seed."""

    workload: str
    policy: str
    seed: int
    window_s: float
    split: Split = ()
    """Of a static partition."""

    @property
    def bound(self) -> float:
        """The sum of the peaks."""
        return bound_of(self.workload)

    def settings(self, load: float, *, users: int = 0) -> SimSettings:
        """Return one run: each window once, measured from its beginning to its end."""
        shares, slots = MIXES[self.workload]
        partition = {RoleId(role): n for role, n in self.split}
        return SimSettings(
            workload=self.workload,
            seed=self.seed,
            load=load,
            lasts_us=seconds(self.window_s * len(shares)),
            nodes=alike(slots),
            terms=Terms(policy=PolicyTerms(name=self.policy, partition=partition)),
            workload_terms=WorkloadTerms(mix_users=users),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """One run's latencies, in mean turn costs."""

    p50: float
    p95: float
    p99: float
    switch_p95: float
    """Of turns that arrived in the first moments after a switch."""


@dataclass(slots=True)
class Probe:
    """Asks for a load at most once."""

    search: Search
    seen: dict[float, Point] = field(default_factory=dict)

    def p95(self, load: float) -> float:
        """Return the p95 over all turns at a load."""
        if load not in self.seen:
            self.seen[load] = point(self.search.settings(load))
        return self.seen[load].p95

    def within(self, limit: float) -> Point | None:
        """Return the run with the highest load tried that was within the limit."""
        loads = [load for load, seen in self.seen.items() if seen.p95 <= limit]
        return self.seen[max(loads)] if loads else None


def bound_of(workload: str) -> float:
    """Return the sum over roles of their peak share of the load."""
    peaks_of_all: list[float] = [max(of) for of in zip(*MIXES[workload][0], strict=True)]
    return sum(peaks_of_all)


def point(settings: SimSettings) -> Point:
    """Return what a run's turns took."""
    world = World(settings)
    world.run()
    window_us = settings.lasts_us / len(MIXES[settings.workload][0])
    took, soon = [], []
    for turn in world.turns:
        latency = (turn.ended or world.clock.now()) - turn.arrived
        took.append(latency)
        if turn.arrived >= window_us and turn.arrived % window_us < SWITCH_US:
            soon.append(latency)
    took.sort()
    soon.sort()
    unit = settings.workload_terms.role_us

    def at(of: list[int], percent: int) -> float:
        return (percentile(of, len(of), percent) or 0) / unit

    return Point(at(took, 50), at(took, 95), at(took, 99), at(soon, 95))


def largest_load(
    p95_at: Callable[[float], float], limit: float, low: float, high: float
) -> float | None:
    """Return the largest load from `low` to `high` at which p95 is within the limit.

    By bisection, for p95 rises with the load. None where it is above the limit even at `low`.
    """
    if p95_at(high) <= limit:
        return high
    step = (high - low) / GRID
    while high - low > step * 1.5:
        middle = (low + high) / 2
        if p95_at(middle) <= limit:
            low = middle
        else:
            high = middle
    return crossing({low: p95_at(low), high: p95_at(high)}, limit)


def search(job: Search) -> tuple[tuple[str, ...], Found]:
    """Return the seed, and by limit the load at which it is reached and the latencies near it."""
    probe = Probe(job)
    low, high = _range(job)
    found: dict[float, dict[str, float] | None] = {}
    for limit in LIMITS:
        load = largest_load(probe.p95, limit, low, high)
        near = probe.within(limit)
        found[limit] = None
        if load is not None and near is not None:
            found[limit] = {"load": load, **asdict(near)}
    return (job.workload, job.policy), Found(job.split, found)


def _range(job: Search) -> tuple[float, float]:
    """Return between what the load is looked for."""
    return (0.5 / job.bound, min(1.0, 1.3 / job.bound)) if job.split else (0.6, 1.0)


def best_split(
    job: Search, cost: Callable[[Search], float], seeds: Sequence[int] = (1, 2)
) -> Split:
    """Return the best static split found: from the one by peaks, moving slots while it helps.

    The cost is added up over the seeds; with one only, it would be the split that suits its luck.
    """

    def all_costs(split: Mapping[str, int]) -> float:
        return sum(cost(replace(_walled(job, split), seed=seed)) for seed in seeds)

    split = whole_split(peaks(job.settings(1.0)), MIXES[job.workload][1])
    least = all_costs(split)
    while True:
        others = _unlike(job.workload, neighbours(split))
        tried = [all_costs(other) for other in others]
        if min(tried) >= least:
            return tuple(split.items())
        least = min(tried)
        split = others[tried.index(least)]


def p95_near_the_limit(job: Search) -> float:
    """Return the p95 at about the load at which walls reach the limit in the middle."""
    return point(job.settings(0.85 / job.bound)).p95


def not_served(job: Search) -> float:
    """Return the less, the more is served when users never think."""
    return -saturated(job)[1]["served"]


def _walled(job: Search, split: Mapping[str, int]) -> Search:
    return replace(job, policy=STATIC, split=tuple(split.items()))


def _unlike(workload: str, splits: Sequence[dict[str, int]]) -> list[dict[str, int]]:
    """Return one of those that are the same but for whose turn it is."""
    if workload != "rotating":
        return list(splits)
    return list({tuple(sorted(split.values())): split for split in splits}.values())


def saturated(job: Search) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return what is served when users never think, as parts of what the pool computes."""
    slots = MIXES[job.workload][1]
    settings = job.settings(1.0, users=USERS_PER_SLOT * slots)
    world = World(settings)
    world.run()
    windows = len(MIXES[job.workload][0])
    window_us = settings.lasts_us // windows
    settled = whole = 0
    took = []
    for turn in world.turns:
        assert turn.ended is not None, "users wait for their answers"
        took.append(turn.ended - turn.arrived)
        if turn.ended < settings.lasts_us:
            whole += turn.turn.cost_us
            settled += turn.turn.cost_us if 2 * (turn.ended % window_us) >= window_us else 0
    took.sort()
    time_us = slots * settings.lasts_us
    return (job.workload, job.policy), {
        "served": 2 * settled / time_us,
        "served_whole": whole / time_us,
        "p95": (percentile(took, len(took), 95) or 0) / settings.workload_terms.role_us,
    }
