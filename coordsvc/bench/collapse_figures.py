"""What alarms are worth: leads, misses and false alarms, counted alike for every alarm.

The truth (docs/concepts/collapse.md): a pool has collapsed at the end of the first window in which
the mean C_coord of the turns that ended in the last minute is above the bound, and stays above it
in each of the windows of the next minute. No alarm is told of it.

An alarm is the window in which a warning begins. One before the drift, or in a run without any, is
false, whatever happens later; windows in which the detector cannot speak yet count neither way. A
collapse is detected if an alarm begins after the drift has, and before the collapse; its lead is
the number of windows between the two, and 0 where there was none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from coordsvc.core.collapse import DetectorTerms
from coordsvc.core.units import SECOND
from coordsvc.core.window import Window

MEAN_OF = 6
"""Windows that the mean is taken of: a minute."""
STAYS = 6
"""Windows for which it must stay above: another."""
HOLD = 6
"""Windows without cause until a simple alarm ends; the detector's own default."""
WARM = DetectorTerms().warm
"""Windows in which the detector says nothing yet: no time without false alarms, for nobody."""
DAY_S = 86_400
PERSIST = (1, 2, 3, 4, 6)
"""Windows on end that a simple alarm may ask for."""

Signal = Callable[[Sequence[Window]], list[float]]
"""What a simple alarm looks at: one value a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one case came to."""

    kind: str
    onset: int | None
    windows: tuple[Window, ...]
    collapse: int | None
    """The window of the collapse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an alarm came to in many runs."""

    collapses: int
    leads: tuple[int, ...]
    """Of each collapse; 0 for those that were not detected."""
    false_alarms: int
    days: float
    """Of time without a drift."""

    @property
    def detected(self) -> float:
        """Part of the collapses."""
        found = sum(1 for lead in self.leads if lead > 0)
        return found / self.collapses if self.collapses else 0.0

    @property
    def median_lead(self) -> float:
        """In windows."""
        return float(median(self.leads)) if self.leads else 0.0

    @property
    def per_day(self) -> float:
        """False alarms in a day."""
        return self.false_alarms / self.days if self.days else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return the figures, rounded."""
        return {
            "detected": round(self.detected, 3),
            "median_lead_windows": self.median_lead,
            "false_alarms": self.false_alarms,
            "false_alarms_per_day": round(self.per_day, 2),
        }


def collapse_of(windows: Sequence[Window], bound_us: float) -> int | None:
    """Return the window of the collapse; None without one, or if the run ends too soon to tell."""
    above = [mean > bound_us for mean in _means(windows)]
    for n in range(len(above) - STAYS):
        if all(above[n : n + STAYS + 1]):
            return n
    return None


def _means(windows: Sequence[Window]) -> Iterable[float]:
    """Yield the mean C_coord of the turns of the last minute, window by window."""
    for n in range(len(windows)):
        last = windows[max(0, n + 1 - MEAN_OF) : n + 1]
        turns = sum(one.turns for one in last)
        yield sum((one.c_coord_us or 0.0) * one.turns for one in last) / turns if turns else 0.0


def begins(on: Sequence[bool]) -> list[int]:
    """Return the windows in which an alarm begins."""
    return [n for n, now in enumerate(on) if now and not (n and on[n - 1])]


def score(runs: Sequence[Run], alarms: Sequence[Sequence[bool]]) -> Score:
    """Return what an alarm came to; `alarms` are its states, run by run, window by window."""
    leads: list[int] = []
    false, quiet_us = 0, 0
    for run, on in zip(runs, alarms, strict=True):
        started = begins(on)
        quiet = len(run.windows) if run.onset is None else run.onset
        false += sum(1 for n in started if WARM <= n < quiet)
        quiet_us += sum(one.lasts_us for one in run.windows[WARM:quiet])
        if run.onset is not None and run.collapse is not None:
            after = (run.collapse - n for n in started if run.onset <= n < run.collapse)
            leads.append(next(after, 0))
    return Score(
        collapses=len(leads),
        leads=tuple(leads),
        false_alarms=false,
        days=quiet_us / SECOND / DAY_S,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """An alarm that looks at one figure: on when it was above a threshold for so many windows."""

    signal: Signal
    above: float
    persist: int

    def states(self, windows: Sequence[Window]) -> list[bool]:
        """Return whether it is on, window by window."""
        on, near, quiet = [], 0, HOLD
        for value in self.signal(windows):
            near = near + 1 if value > self.above else 0
            quiet = 0 if near >= self.persist else quiet + 1
            on.append(quiet < HOLD)
        return on


def tuned(signal: Signal, runs: Sequence[Run], per_day: float) -> Simple:
    """Return the alarm on a figure that detects the most, with so few false alarms in these runs.

    For each number of windows on end the lowest threshold that is quiet enough; of those the one
    with the longest median lead, then with the most collapses detected.
    """
    found = [_lowest(signal, runs, persist, per_day) for persist in PERSIST]

    def worth(alarm: Simple) -> tuple[float, float]:
        came = score(runs, [alarm.states(run.windows) for run in runs])
        return came.median_lead, came.detected

    return max(found, key=worth)


def _lowest(signal: Signal, runs: Sequence[Run], persist: int, per_day: float) -> Simple:
    """Return the alarm with the lowest threshold that is quiet enough, by bisection over ranks.

    More false alarms do not always come with a lower threshold (two may melt into one); it is the
    lowest of those above which all that were tried are quiet.
    """
    values = sorted({value for run in runs for value in signal(run.windows)})
    low, high = -1, len(values) - 1
    while high - low > 1:
        middle = (low + high) // 2
        alarm = Simple(signal=signal, above=values[middle], persist=persist)
        came = score(runs, [alarm.states(run.windows) for run in runs])
        low, high = (low, middle) if came.per_day <= per_day else (middle, high)
    return Simple(signal=signal, above=values[high], persist=persist)


def p95(windows: Sequence[Window]) -> list[float]:
    """Return the p95 latency of each window; of one without turns, the one before."""
    found: list[float] = []
    for one in windows:
        before = found[-1] if found else 0.0
        found.append(before if one.p95_us is None else float(one.p95_us))
    return found


def acceleration(windows: Sequence[Window]) -> list[float]:
    """Return the second difference of C_coord by offers: the naive indicator, in us an offer."""
    found: list[float] = []
    for n, one in enumerate(windows):
        last = [before.c_coord_us for before in windows[max(0, n - 2) : n + 1]]
        known = [value for value in last if value is not None]
        if len(known) < 3 or not one.offers_made:  # noqa: PLR2004 - a second difference is of three
            found.append(0.0)
        else:
            found.append((known[2] - 2 * known[1] + known[0]) / one.offers_made)
    return found
