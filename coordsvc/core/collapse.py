"""The early warning: that C_coord is about to cross its bound and stay above it, and why.

What each sign fails to see is in docs/concepts/collapse.md. The margin says when the bound will be
crossed, by two looks of many windows that must agree: when it is near, it warns by itself; further
off chance looks the same, and it takes another sign. So does work that is lost and redone, which
feeds on itself and is quicker than any trend. The rest is to be watched. Not the second difference
of C_coord per offer, that was proposed elsewhere: by the law it is negative for an amount of work
that is shared out, and a constant for work that everybody brings along, so that it says nothing of
what is near.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil, inf
from statistics import fmean, pstdev

from coordsvc.core.change import Cusum
from coordsvc.core.collapse_signs import (
    AMPLIFICATION,
    BURN,
    CHANGE,
    MARGIN,
    MARGINAL,
    OFF,
    RESTLESS,
    SIGNS,
    Margin,
    Sign,
    amplification_sign,
    burn_sign,
    margin_of,
    margin_sign,
    marginal_sign,
    restless_sign,
)
from coordsvc.core.queue_law import QueueLaw
from coordsvc.core.scaling import FEW, Fit, LawTerms, Scaling
from coordsvc.core.units import SECOND, Micros
from coordsvc.core.window import Window


class Level(IntEnum):
    """How near it is. The numbers are the metric's."""

    CALM = 0
    WATCH = 1
    """A sign is there that does not suffice."""
    WARNING = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorTerms:
    """When to warn. Counts are windows. What was tuned was tuned on the bench's tuning seeds."""

    bound_us: Micros = Micros(SECOND // 2)
    """What C_coord must not cross and stay above: the article's threshold."""
    history: int = 26
    """Windows looked at: the slope of the load is then off by 0.2 % a window (noise of 8 %), an
    eighth of what takes a pool from 60 % to its limit in as many. With 32 one collapse in ten was
    seen too late, with 24 twice as many pools that hold were warned of."""
    short: int = 16
    """Windows of the shorter look, which must agree: a rise that bends is seen by then."""
    recent: int = 6
    """Windows that are now, against those before."""
    warm: int = 20
    """Windows with turns before anything is said; with eight, pools that hold were warned of seven
    times in six hours."""
    near: float = 6.0
    """Windows to the bound from which on the margin warns by itself. With 8 pools that hold
    at 85 % were warned of twice as often."""
    horizon: float = 10.0
    """Windows within which the bound is on its way to be crossed: three of lead, and twice as much
    for error and for the other sign to show."""
    hold: int = 6
    """Windows without cause until a warning ends: it does not flutter at its own threshold."""
    change_slack: float = 1.0
    """Standard deviations, of what the windows before the recent ones were off; half of the shift
    that matters."""
    change_limit: float = 12.0
    """Standard deviations in all. Were windows independent, hardly ever by chance; a burst that
    lasts makes them depend, and with 8 it was taken for a change once in seven hours."""
    change_most: float = 6.0
    """Two wild windows in a row do not raise it; three do."""
    change_floor: float = 0.02
    """A standard deviation is at least this part of the bound: less does not matter."""
    burn_allowed: float = 0.05
    """Part of the turns that may be above the bound: the p95 is what is promised."""
    burn_pairs: tuple[tuple[int, int, float], ...] = ((12, 2, 3.0), (6, 1, 6.0))
    """Long window, short window, rate. Google's 1 h and 5 m, 12 to 1, for windows of seconds; the
    rates are lower, since 5 % may be slow and not 0.1 %."""
    amplify_more: float = 0.005
    """Offers a task, more than before, that matter: one task in two hundred is done twice."""
    amplify_sure: float = 3.0
    """Standard deviations of a Poisson number: one window in 700 by chance."""
    amplify_tasks_min: int = 50
    """Fewer tell no per cent from none."""
    restless_times: float = 4.0
    """Twice as wide."""
    restless_memory: float = 0.3
    """A series of twelve without memory is above it once in seven times; the width decides."""
    law_error_max: float = 0.2
    """A law that is a fifth off is a guess."""
    gap_max: int = 3
    """After so many windows unheard the past is forgotten: nobody knows what was between."""
    law: LawTerms = field(default_factory=LawTerms)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyWarning:
    """What the last window came to."""

    level: Level
    signs: Mapping[str, Sign]
    """Each of `SIGNS`."""
    time_to_cross_us: Micros | None
    """Until C_coord is at the bound: 0 if it is; None if it is not on its way."""
    why: str
    """In words."""
    fit: Fit
    """The Universal Scalability Law, or why there is none."""


class Detector:
    """Told each window once it is over. Its memory is `history` windows and the law's bins."""

    def __init__(self, terms: DetectorTerms | None = None) -> None:
        self.terms = terms or DetectorTerms()
        self.scaling = Scaling(self.terms.law)
        self.queue = QueueLaw()
        self._seen: deque[Window] = deque(maxlen=self.terms.history)
        self._begin_anew()

    def window(self, window: Window) -> EarlyWarning:
        """Return what is to be said now. A window with a flaw changes nothing, and it is said."""
        if (flaw := window.flaw()) is not None:
            return self._nothing(f"a window is left out: {flaw}")
        anew = self._jumped(window)
        if anew:
            self._seen.clear()
            self._begin_anew()
        self.scaling.window(window)
        self._expected(window)
        self._seen.append(window)
        if anew:
            return self._nothing("the clock jumped, or windows are missing: watching begins anew")
        seen = list(self._seen)
        with_turns = sum(1 for one in seen if one.turns)
        if with_turns < self.terms.warm:
            return self._nothing(f"{with_turns} of {self.terms.warm} windows with turns so far")
        return self._told(seen)

    def _begin_anew(self) -> None:
        terms = self.terms
        self._change = Cusum(terms.change_slack, terms.change_limit, terms.change_most)
        self._changed = False
        self._quiet = terms.hold
        """Windows since there was cause to warn."""
        self._residuals: deque[float] = deque(maxlen=terms.history + terms.recent)

    def _jumped(self, window: Window) -> bool:
        if not self._seen:
            return False
        last = self._seen[-1]
        gap = window.began - (last.began + last.lasts_us)
        return gap < -last.lasts_us // 2 or gap > self.terms.gap_max * last.lasts_us

    def _expected(self, window: Window) -> None:
        """Compare C_coord with what is expected at this load, then learn from it."""
        terms, load = self.terms, window.load
        if window.c_coord_us is None:
            return
        expected = self._idle_us()
        if load is not None and window.accelerators and window.c_algo_us:
            expected += self.queue.waits_us(load, window.accelerators, window.c_algo_us)
            waited = max(0.0, window.c_coord_us - self._idle_us())
            self.queue.learn(
                load, window.accelerators, window.c_algo_us, min(waited, float(terms.bound_us))
            )
        residual = window.c_coord_us - expected
        before = list(self._residuals)[: -terms.recent]
        if len(before) >= terms.warm - terms.recent:
            usual, unit = fmean(before), max(pstdev(before), terms.change_floor * terms.bound_us)
            self._changed = self._change.add((residual - usual) / unit)
        self._residuals.append(residual)

    def _idle_us(self) -> float:
        """Return C_coord without any load to speak of: the smaller fifth of what was seen."""
        known = sorted(one.c_coord_us for one in self._seen if one.c_coord_us is not None)
        return known[len(known) // 5] if known else 0.0

    def _told(self, seen: list[Window]) -> EarlyWarning:
        terms, fit = self.terms, self.scaling.fit()
        bound = float(terms.bound_us)
        idle = min(self._idle_us(), bound)
        spans = (terms.history, terms.short)
        margin = margin_of(seen, bound, idle, self.queue, spans, unexplained=self._changed)
        signs = {
            MARGIN: margin_sign(margin, bound, terms.horizon) if margin else OFF,
            MARGINAL: marginal_sign(fit, seen[-1].concurrency, terms.law_error_max),
            CHANGE: self._change_sign(),
            BURN: burn_sign(seen, terms.burn_pairs, terms.burn_allowed),
            AMPLIFICATION: amplification_sign(
                seen, terms.recent, terms.amplify_more, terms.amplify_tasks_min, terms.amplify_sure
            ),
            RESTLESS: restless_sign(seen, terms.restless_times, terms.restless_memory),
        }
        level = self._level(signs)
        return EarlyWarning(
            level=level,
            signs=signs,
            time_to_cross_us=_time(margin, seen[-1].lasts_us),
            why=_why(signs),
            fit=fit,
        )

    def _change_sign(self) -> Sign:
        value = self._change.sum
        if not self._changed:
            return Sign(on=False, value=value)
        says = f"C_coord is above what the load explains, by {value:.0f} deviations in all"
        return Sign(on=True, value=value, says=says)

    def _level(self, signs: Mapping[str, Sign]) -> Level:
        on = {name for name, sign in signs.items() if sign.on}
        alone = signs[MARGIN].on and (signs[MARGIN].value or 0.0) <= self.terms.near
        borne_out = len(on) > 1 and not on.isdisjoint((MARGIN, AMPLIFICATION))
        self._quiet = 0 if alone or borne_out else self._quiet + 1
        if self._quiet < self.terms.hold:
            return Level.WARNING
        return Level.WATCH if on else Level.CALM

    def _nothing(self, why: str) -> EarlyWarning:
        return EarlyWarning(
            level=Level.CALM,
            signs=dict.fromkeys(SIGNS, OFF),
            time_to_cross_us=None,
            why=why,
            fit=self.scaling.fit() if self._seen else Fit(law=None, says=FEW),
        )


def _time(margin: Margin | None, lasts_us: Micros) -> Micros | None:
    if margin is None or margin.crosses == inf:
        return None
    return Micros(ceil(margin.crosses * lasts_us))


def _why(signs: Mapping[str, Sign]) -> str:
    return "; ".join(sign.says for sign in signs.values() if sign.on) or "no sign of collapse"
