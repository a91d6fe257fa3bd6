"""How many engine replicas there should be, decided from what turns and engines told of late.

Out, when the mean C_coord of a turn stays above the threshold and most of it is what more engines
cure. In, when the engines that would be left can take over what the one that goes has done:
N engines' work on N - 1 is N/(N - 1) of it for each. Between the two lies a band in which nothing
is done. Every rest has a reason of its own, which is logged and counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import ceil

from coordsvc.core.scaling_report import Report
from coordsvc.core.scaling_window import Seen, Window
from coordsvc.core.units import SECOND, Instant, Micros, seconds, since


class Direction(StrEnum):
    """Where the number of replicas goes."""

    OUT = "out"
    IN = "in"
    HOLD = "hold"


class Reason(StrEnum):
    """Why it goes there, or stays."""

    C_COORD = "c_coord"
    """Out: C_coord stayed above the threshold, and most of it is for want of capacity."""
    CONSOLIDATES = "consolidates"
    """In: fewer engines can do the work without C_coord crossing the threshold."""
    IDLE = "idle"
    """In: nothing was asked, and nothing ran."""
    BOUNDS = "bounds"
    """Out or in: the target lay outside the bounds."""
    STEADY = "steady"
    """C_coord is in the band between."""
    FILLING = "filling"
    """The pool has not been of this size for a whole window."""
    SUSTAINING = "sustaining"
    """It has not stayed so for long enough."""
    COOLING = "cooling"
    """The pool changed too short a time ago."""
    STARTING = "starting"
    """Replicas that were asked for do not run yet."""
    NOT_CAPACITY = "not_capacity"
    """C_coord is above the threshold, but more engines do not cure what it is made of."""
    AT_MAX = "at_max"
    AT_MIN = "at_min"
    UNFINISHED = "unfinished"
    """Engines worked, and no turn ended: nobody knows its C_coord."""
    NO_REPORT = "no_report"
    """An engine does not say what it does, so nobody knows whether it can be spared."""
    CLOCK = "clock"
    """The clock jumped, or nobody asked for a long time: all begins anew."""
    DRY_RUN = "dry_run"
    """What would have been done is only told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingTerms:
    """When to scale; the reasons of the defaults are in `settings.scaling`."""

    threshold_us: Micros = Micros(SECOND // 2)
    capacity_share_min: float = 0.5
    window_us: Micros = seconds(30)
    sustain_out_us: Micros = seconds(15)
    sustain_in_us: Micros = seconds(120)
    cool_out_us: Micros = seconds(30)
    cool_in_us: Micros = seconds(120)
    margin: float = 0.3
    utilisation_max: float = 0.7
    step_out_max: int = 2
    step_in_max: int = 1
    stale_us: Micros = seconds(15)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The pool, as it is seen now."""

    running: int
    """Engine replicas that run."""
    target: int
    """Engine replicas that were asked for."""
    least: int
    most: int
    ingresses: Mapping[str, Report] = field(default_factory=dict)
    """The latest report of each ingress replica, new or not."""
    engines: Mapping[str, Report] = field(default_factory=dict)
    """Likewise of each engine replica that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingState:
    """What is remembered from one decision to the next."""

    window: Window
    now: Instant
    """Of the last decision."""
    running: int
    target: int
    changed: Instant
    """When the pool's size, or what was asked for, last changed."""
    above: Instant | None = None
    """Since when C_coord is above the threshold for want of capacity."""
    spare: Instant | None = None
    """Since when an engine can be spared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about the number of engine replicas, and why."""

    direction: Direction
    reason: Reason
    says: str
    """In words, with the figures."""
    replicas: int
    """What there should be from now on."""
    wanted: int
    """What there should be if there were no bounds, and this no dry run."""
    c_coord_us: float | None = None
    """Mean over the window; None if no turn ended in it."""


def decide(
    terms: ScalingTerms, state: ScalingState | None, now: Instant, pool: Observation
) -> tuple[Decision, ScalingState]:
    """Return what to do now, and what to remember; `now` is on any clock of the caller's own."""
    jumped = state is not None and not 0 <= now - state.now <= terms.stale_us
    state = _told(terms, state, now, pool, jumped=jumped)
    look = _Look(terms, state, now, pool, state.window.seen(now, terms.window_us))
    if not pool.least <= pool.target <= pool.most:
        return look.bounds(), state
    if jumped:
        return look.hold(Reason.CLOCK, "the clock jumped; watching begins anew"), state
    if look.seen.covers_us < terms.window_us:
        return look.hold(Reason.FILLING, "the pool is of this size since a short time"), state
    state = replace(
        state,
        above=(state.above or now) if look.lacks_capacity else None,
        spare=(state.spare or now) if look.spares else None,
    )
    look = replace(look, state=state)
    decision = look.out() if look.is_above else look.back()
    if decision.replicas != pool.target and terms.dry_run:
        decision = replace(
            decision,
            direction=Direction.HOLD,
            reason=Reason.DRY_RUN,
            says=f"dry run, nothing is done; else {decision.says}",
            replicas=pool.target,
        )
    return decision, state


def _told(
    terms: ScalingTerms,
    state: ScalingState | None,
    now: Instant,
    pool: Observation,
    *,
    jumped: bool,
) -> ScalingState:
    """Return the state with the pool's news in it; a pool of another size is watched anew."""
    reports = {**pool.ingresses, **pool.engines}
    if state is None:
        window = Window(now).told(now, reports, terms.window_us)
        return ScalingState(
            window=window, now=now, running=pool.running, target=pool.target, changed=now
        )
    window = state.window.told(now, reports, terms.window_us)
    if (pool.running, pool.target) == (state.running, state.target) and not jumped:
        return replace(state, window=window, now=now)
    return replace(
        state,
        window=window.anew(now),
        now=now,
        running=pool.running,
        target=pool.target,
        changed=now,
        above=None,
        spare=None,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the pool."""

    terms: ScalingTerms
    state: ScalingState
    now: Instant
    pool: Observation
    seen: Seen

    @property
    def is_above(self) -> bool:
        mean = self.seen.c_coord_us
        return mean is not None and mean > self.terms.threshold_us

    @property
    def lacks_capacity(self) -> bool:
        """Whether C_coord is above the threshold, and that for want of capacity."""
        mean = self.seen.c_coord_us
        if mean is None or not self.is_above:
            return False
        return self.seen.capacity_us > self.terms.capacity_share_min * mean

    @property
    def is_idle(self) -> bool:
        return self.seen.c_coord_us is None and not self.seen.phases_ran

    @property
    def spares(self) -> bool:
        return self.is_idle or self._fits(self.pool.target - 1)

    @property
    def is_blind(self) -> bool:
        """Whether some engine that runs does not tell."""
        fresh = self.state.window.fresh(self.now, self.terms.stale_us)
        return len(fresh.intersection(self.pool.engines)) < self.pool.running

    def out(self) -> Decision:
        """Return what to do about C_coord above the threshold."""
        mean = self.seen.c_coord_us
        assert mean is not None, "it is above the threshold"
        figure = f"C_coord is {mean / SECOND:.2f} s"
        wanted = self._wanted()
        if self.state.above is None:
            part, share = self.seen.largest
            return self.hold(
                Reason.NOT_CAPACITY, f"{figure}, but not capacity: {part} is {share:.0%} of it"
            )
        if (rest := self._unsustained(self.state.above, self.terms.sustain_out_us)) is not None:
            return self.hold(Reason.SUSTAINING, f"{figure} for {rest}")
        if self.pool.running < self.pool.target:
            return self.hold(
                Reason.STARTING,
                f"{figure}; {self.pool.target - self.pool.running} replicas do not run yet",
            )
        if (rest := self._unsustained(self.state.changed, self.terms.cool_out_us)) is not None:
            return self.hold(Reason.COOLING, f"{figure}; the pool changed {rest} ago", wanted)
        if self.pool.target >= self.pool.most:
            return self.hold(Reason.AT_MAX, f"{figure}, and there are {self.pool.most}", wanted)
        replicas = min(wanted, self.pool.most)
        share = min(1.0, self.seen.capacity_us / mean)
        return self._go(
            Direction.OUT,
            Reason.C_COORD,
            replicas,
            f"from {self.pool.target} to {replicas}: {figure}, {share:.0%} of it for want of "
            "capacity",
            wanted,
        )

    def back(self) -> Decision:
        """Return what to do about C_coord at or below the threshold, or none at all."""
        mean = self.seen.c_coord_us
        figure = "nothing was asked" if mean is None else f"C_coord is {mean / SECOND:.2f} s"
        if mean is None and not self.is_idle:
            return self.hold(Reason.UNFINISHED, "engines worked, and no turn ended")
        if self.state.spare is None:
            if self.seen.utilisation is None:
                return self.hold(Reason.NO_REPORT, f"{figure}; no engine tells what it does")
            return self.hold(Reason.STEADY, figure)
        if self.pool.target <= self.pool.least:
            return self.hold(Reason.AT_MIN, f"{figure}, and there are {self.pool.least}")
        if self.is_blind:
            return self.hold(Reason.NO_REPORT, f"{figure}; an engine does not tell what it does")
        if (rest := self._unsustained(self.state.spare, self.terms.sustain_in_us)) is not None:
            return self.hold(Reason.SUSTAINING, f"{figure} for {rest}")
        if (rest := self._unsustained(self.state.changed, self.terms.cool_in_us)) is not None:
            return self.hold(Reason.COOLING, f"{figure}; the pool changed {rest} ago")
        replicas = self._fewest()
        return self._go(
            Direction.IN,
            Reason.IDLE if self.is_idle else Reason.CONSOLIDATES,
            replicas,
            f"from {self.pool.target} to {replicas}: {figure}",
            replicas,
        )

    def bounds(self) -> Decision:
        """Return the target within the bounds."""
        replicas = min(max(self.pool.target, self.pool.least), self.pool.most)
        direction = Direction.OUT if replicas > self.pool.target else Direction.IN
        says = f"from {self.pool.target} to {replicas}: {self.pool.least} to {self.pool.most} are"
        return self._go(direction, Reason.BOUNDS, replicas, f"{says} allowed", self.pool.target)

    def hold(self, reason: Reason, says: str, wanted: int | None = None) -> Decision:
        """Return that nothing is to be done."""
        return self._go(Direction.HOLD, reason, self.pool.target, says, wanted or self.pool.target)

    def _go(
        self, direction: Direction, reason: Reason, replicas: int, says: str, wanted: int
    ) -> Decision:
        return Decision(
            direction=direction,
            reason=reason,
            says=says,
            replicas=replicas,
            wanted=wanted,
            c_coord_us=self.seen.c_coord_us,
        )

    def _wanted(self) -> int:
        """Return how many replicas would do, one more at least and a step more at most."""
        target = self.pool.target
        demand = self.seen.demand(self.pool.running)
        needed = 0 if demand is None else ceil(demand / self.terms.utilisation_max)
        return min(max(target + 1, needed), target + self.terms.step_out_max)

    def _fewest(self) -> int:
        """Return the smallest number of replicas that one step leads to, and that will do."""
        lowest = max(self.pool.least, self.pool.target - self.terms.step_in_max)
        return next(
            (n for n in range(lowest, self.pool.target) if self.is_idle or self._fits(n)),
            self.pool.target - 1,
        )

    def _fits(self, target: int) -> bool:
        """Tell whether so many replicas can do the work with C_coord well below the threshold.

        Waiting grows with what each of them takes over, and as 1 / (1 - utilisation): a queue's.
        """
        running = self.pool.running
        left = min(target, running)
        mean, demand = self.seen.c_coord_us, self.seen.demand(running)
        if mean is None or demand is None or left < 1:
            return False
        before, then = demand / running, demand / left
        if then > self.terms.utilisation_max:
            return False
        waits = min(mean, self.seen.capacity_us)
        foreseen = mean - waits + waits * (running / left) * (1 - before) / (1 - then)
        return foreseen <= self.terms.threshold_us * (1 - self.terms.margin)

    def _unsustained(self, start: Instant, lasts: Micros) -> str | None:
        """Return how long it has lasted, in words, if that is not yet long enough."""
        passed = since(start, self.now)
        return None if passed >= lasts else f"{passed / SECOND:.0f} s"
