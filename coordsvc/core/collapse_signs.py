"""The signs of a collapse to come, each from the last windows alone.

margin         C_coord, or the load it follows from, is on its way to the bound, and when
marginal       by the fitted law, one more turn under way slows all more than it adds
change         C_coord is above what the load explains, and stays so
burn           turns above the bound eat up what is allowed of them, fast and still
amplification  work takes more offers than it did
restless       C_coord swings wider and comes back later
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from coordsvc.core.change import line, restless, share
from coordsvc.core.queue_law import QueueLaw
from coordsvc.core.scaling import Fit
from coordsvc.core.units import SECOND
from coordsvc.core.window import Window

MARGIN, MARGINAL, CHANGE = "margin", "marginal", "change"
BURN, AMPLIFICATION, RESTLESS = "burn", "amplification", "restless"
CUT = 1.5
SIGNS = (MARGIN, MARGINAL, CHANGE, BURN, AMPLIFICATION, RESTLESS)


@dataclass(frozen=True, slots=True)
class Sign:
    """One of them, now."""

    on: bool
    value: float | None = None
    """What it goes by, in the unit that its function says; None without enough to go by."""
    says: str = ""
    """In words with the figures; nothing of a sign that is off."""


OFF = Sign(on=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Where a series is and where it goes."""

    level: float
    slope: float
    """A window."""
    crosses: float
    """Windows until it is at its goal: 0 if it is there, infinity if it is not on its way."""


def course(values: Sequence[float], goal: float, spans: Sequence[int]) -> Course | None:
    """Return the course of a series to a goal above it: the slowest of its spans. None of too few.

    `spans`: how many values to go by, each asked on its own. A long span is steady and late, a
    short one is quick and shaky: what a rise that bends has behind it is in the long one only, and
    what a few values have by chance in the short one only.
    """
    found = [_to(goal, values[-span:]) for span in spans]
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: one.crosses) if len(known) == len(found) else None


def _to(goal: float, values: Sequence[float]) -> Course | None:
    found = line(values)
    if found is None:
        return None
    if found.slope > 0:
        crosses = max(0.0, goal - found.level) / found.slope
        return Course(level=found.level, slope=found.slope, crosses=crosses)
    return Course(level=found.mean, slope=0.0, crosses=0.0 if found.mean >= goal else inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How far the bound is off."""

    c_coord: Course
    load: Course | None
    """None where loads are not told."""
    goal: float | None
    """The load at which C_coord will be at the bound."""
    unexplained: bool
    """Whether C_coord is more than its load explains. Else its spikes are those of a busy pool's
    queue, and where they go to is for the load to say, which is far less noisy."""

    @property
    def crosses(self) -> float:
        """Windows until the first of the two is there that counts."""
        if self.load is None:
            return self.c_coord.crosses
        if not self.unexplained:
            return self.load.crosses
        return min(self.c_coord.crosses, self.load.crosses)


def margin_of(
    seen: Sequence[Window],
    bound_us: float,
    idle_us: float,
    queue: QueueLaw,
    spans: Sequence[int],
    *,
    unexplained: bool,
) -> Margin | None:
    """Return the margin; `idle_us` is C_coord without any load.

    C_coord of one window counts up to `CUT` times the bound: one wild window is no trend.
    """
    known = [min(one.c_coord_us, CUT * bound_us) for one in seen if one.c_coord_us is not None]
    c_coord = course(known, bound_us, spans)
    if c_coord is None:
        return None
    loads = [one.load for one in seen if one.load is not None]
    pool = next((one for one in reversed(seen) if one.c_algo_us and one.accelerators), None)
    if pool is None or not pool.c_algo_us or not pool.accelerators or len(loads) < len(seen):
        return Margin(c_coord=c_coord, load=None, goal=None, unexplained=unexplained)
    goal = queue.load_of(bound_us - idle_us, pool.accelerators, pool.c_algo_us)
    load = course(loads, goal, spans)
    return Margin(c_coord=c_coord, load=load, goal=goal, unexplained=unexplained)


def margin_sign(margin: Margin, bound_us: float, horizon: float) -> Sign:
    """Return whether the bound is crossed within the horizon; the value is windows until then."""
    crosses = margin.crosses
    if crosses > horizon:
        return Sign(on=False, value=None if crosses == inf else crosses)
    c_coord, load = margin.c_coord, margin.load
    if load is not None and load.crosses == crosses:
        grows = f" grows {load.slope:.1%} a window:" if load.slope else ":"
        says = f"load {load.level:.0%}{grows} at {margin.goal:.0%} C_coord crosses {_s(bound_us)}"
    else:
        grows = f" grows {_s(c_coord.slope)} a window:" if c_coord.slope else ":"
        says = f"C_coord {_s(c_coord.level)}{grows} crosses {_s(bound_us)}"
    when = "now" if crosses == 0 else f"in {crosses:.0f} windows"
    return Sign(on=True, value=crosses, says=f"{says} {when}")


def marginal_sign(fit: Fit, concurrency: float, error_max: float) -> Sign:
    """Return whether more turns under way add nothing; the value is the law's gain, in per cent.

    Only where the law is no guess: within the loads that were seen, and not far off.
    """
    law = fit.law
    if law is None or law.error > error_max:
        return OFF
    within = min(max(concurrency, law.lowest), law.highest)
    gain = law.gain(within)
    if law.best is None or concurrency <= law.best:
        return Sign(on=False, value=gain)
    says = f"{concurrency:.0f} turns under way, and {law.best:.0f} would be best ({fit.says})"
    return Sign(on=True, value=gain, says=says)


def burn_sign(
    seen: Sequence[Window], pairs: Sequence[tuple[int, int, float]], allowed: float
) -> Sign:
    """Return whether turns above the bound come too fast; the value is the fastest burn rate.

    `pairs`: long window, short window, rate; both must burn that fast: the long one says that it
    matters, the short one that it still goes on (Google, SRE workbook, chapter 5).
    """
    slow, turns = [one.turns_slow for one in seen], [one.turns for one in seen]
    rates: list[float] = []
    for long, short, least in pairs:
        parts = share(slow, turns, long), share(slow, turns, short)
        if len(seen) < long or parts[0] is None or parts[1] is None:
            continue
        rate = min(parts[0], parts[1]) / allowed
        rates.append(rate)
        if rate >= least:
            says = f"{parts[0]:.0%} of the turns of {long} windows were above the bound"
            return Sign(on=True, value=rate, says=says)
    return Sign(on=False, value=max(rates, default=None))


def amplification_sign(
    seen: Sequence[Window], recent: int, more: float, tasks_min: int, sure: float
) -> Sign:
    """Return whether a task takes more offers than it did; the value is offers a task now.

    Against the windows before the recent ones. What comes by chance counts `sure` standard
    deviations of a Poisson number of wasted offers.
    """
    now, before = seen[-recent:], seen[:-recent]
    tasks_now, tasks_before = _tasks(now), _tasks(before)
    if tasks_now < tasks_min or tasks_before < tasks_min:
        return OFF
    wasted_now = _wasted(now)
    is_now = 1 + wasted_now / tasks_now
    was = 1 + _wasted(before) / tasks_before
    chance = sure * sqrt(max(1.0, (was - 1) * tasks_now)) / tasks_now
    if is_now - was <= max(more, chance):
        return Sign(on=False, value=is_now)
    return Sign(on=True, value=is_now, says=f"offers per task {is_now:.2f}, was {was:.2f}")


def restless_sign(seen: Sequence[Window], times: float, memory_min: float) -> Sign:
    """Return whether C_coord is restless; the value is its variance over that of before.

    The later half against the one before, and with a memory in the later one.
    """
    known = [one.c_coord_us for one in seen if one.c_coord_us is not None]
    half = len(known) // 2
    before, now = restless(known[:half]), restless(known[half:])
    if before is None or now is None or before.variance <= 0:
        return OFF
    ratio = now.variance / before.variance
    if ratio < times or now.memory < memory_min:
        return Sign(on=False, value=ratio)
    says = f"C_coord swings {sqrt(ratio):.1f} times as wide, memory {now.memory:.2f}"
    return Sign(on=True, value=ratio, says=says)


def _tasks(seen: Sequence[Window]) -> int:
    return sum(window.tasks for window in seen)


def _wasted(seen: Sequence[Window]) -> int:
    """Offers that brought no task to its end: lost work, and what was made and not used."""
    return sum(window.retries + window.offers_unused for window in seen)


def _s(us: float) -> str:
    return f"{us / SECOND:.2f} s"
