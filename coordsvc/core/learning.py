"""Utilities learned online: what an agent yields with n bundles, and how sure that is.

After Cilantro (OSDI 2023) and Kandasamy et al. (arXiv:2012.08648): observe, regress on concave
curves, keep bands, decide greedily on them.

*The model.* A phase that ends is worth v = throughput_weight + deadline_weight * (in time), times
its agent's importance. With k of an agent's bundles in use, each held d seconds a phase, Little's
law gives k / d phases a second. So a bundle yields q(k) = E[v] / E[d] a second, and

    u(n) = min(n * q(n), headroom * load * E[v]),    n * q(n) taken as rising and concave.

The left side says what the bundles can do, and needs no knowledge of how many phases wait: a bundle
that stands idle ends nothing, and is not counted as used. The right side says that no more can be
done than comes in; it holds only where arrivals are told.

*How it learns.* Time is cut in windows. Of each are kept the bundles in use, m = held * (seconds of
ended grants / seconds of held bundles, both smoothed), and the sums of v, d, v^2, v*d, d^2 over the
grants that ended, shared between the two grid points beside m. q is the ratio of the first two, the
others give its variance. Sums are kept by agent, by phase, and by load (a bin for each doubling of
the arrival rate), and halve every so many windows of that load; a load that is new borrows from
those beside it. Phases are put together by their recent mix (`core.students`). The curve is the
nearest concave one to the points n * q(n), weighted by count.

*The hand-set prior.* Until an agent was seen in `cold_windows` windows, its utility is the prior's.
After that the prior counts as a grant or so at each point, at the height of what was seen: its
shape fills in where nobody has been. Hand-set numbers have no unit; those of the cold are
multiplied by the mean height of all that have left the cold, which keeps the order among them.

*Exploration.* The gain is a mix of the curve's and of the upper band's. It shapes only the order in
which bundles beyond guarantees are offered: guarantees come first and are the allocator's business.

*Wrong* where a utility is a step (gangs): the curve is then the nearest concave one, not the step.
A grant counts when it ends; one longer than some windows is booked at the use of then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import floor, isfinite, log2

from coordsvc.core.concave import Curve, Sums, Trust, grid, regress
from coordsvc.core.policies import Ended
from coordsvc.core.policies.utilities import Utilities
from coordsvc.core.students import NO_PHASE, Seen, Student, blend
from coordsvc.core.units import SECOND, AgentId, Instant, Micros, since

UNTOLD = -1
"""The load of an agent of which no arrival was ever told."""

LOAD_BINS = 24
"""From under 1/64 of a phase a second, each twice the one before, to over 65,000."""

SLOWEST_LOG2 = -6

LOAD_MOVED = 0.1
"""A load that moved by this part since the last fit calls for another: its ceiling is behind."""

RARE = 0.01
"""Arrivals a second below which loads are not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningTerms:
    """What is worth how much, and how fast to believe and to forget."""

    throughput_weight: float = 0.5
    """Worth of a phase that ended, late or not. Half: a late answer is better than none."""
    deadline_weight: float = 0.5
    """Worth of its having been in time, on top. With the other 1: a phase in time is worth 1."""
    importance: Mapping[AgentId, float] = field(default_factory=dict)
    """Multiplies what an agent's phases are worth; 1 where nothing is said."""
    window_us: Micros = SECOND
    """One observation. About a phase: shorter holds too few ends, longer blurs allocations."""
    smooth_windows: int = 8
    """Half-life of rates and of the bundles in use. Longer than a phase, so that what a window's
    edges cut evens out; shorter than a burst of load."""
    half_life_windows: int = 300
    """After how many windows of the same load what was seen counts half: five minutes, some
    hundred phases, enough for a few per cent."""
    mix_grants: int = 200
    """Half-life of the phases' mix, in ended grants: the part of each is then known to two in a
    hundred, and a mix that moved is followed within some hundred phases."""
    phases_max: int = 8
    """Phases of one agent that are told apart; the dialogue has four in all."""
    cold_windows: int = 20
    """Windows with ended grants before the hand-set utility is left: tens of phases, with which a
    mean is known to some ten per cent."""
    alone_grants: int = 400
    """Ended grants of one load that are believed without those of the loads just beside it: a mean
    of exponential times is then known to five per cent."""
    trust: Trust = Trust()
    """How much the hand-set shape and the scatter of grants count."""
    explore: float = 0.1
    """Part of the gain that is taken from the upper band. 0 never tries what looks worse."""
    headroom: float = 1.25
    """Bundles beyond the load gain nothing; above 1, so that a queue that has formed drains."""
    n_max: int = 4_096
    """Largest number of bundles of one agent that is told apart."""
    agents_max: int = 4_096
    """Agents remembered; beyond it, the one not heard of for longest is forgotten."""
    refit_us: Micros = SECOND
    """How long a curve stays, at least: each change has the policy ask for all gains again."""
    refits_per_tick: int = 8
    """Curves fitted at one refresh, at about a millisecond each; the others wait for the next."""

    def __post_init__(self) -> None:
        worth = (self.throughput_weight, self.deadline_weight, *self.importance.values())
        assert all(0 <= weight < float("inf") for weight in worth), "weights are 0 or above"
        assert self.throughput_weight + self.deadline_weight > 0, "something is worth something"
        assert min(self.window_us, self.smooth_windows, self.half_life_windows) > 0, "above 0"
        bounds = (self.n_max, self.agents_max, self.phases_max, self.refits_per_tick)
        assert min(bounds) > 0, "bounds are above 0"
        assert self.mix_grants > 0, "above 0"
        assert self.headroom > 0, "above 0"
        assert 0 <= self.explore <= 1, "a part of the gain"


@dataclass(kw_only=True)
class LearnedUtilities:
    """The utility of each agent, in worth a second, as far as it is known by now.

    What is told changes no answer before the next `refresh` that returns True.
    """

    prior: Utilities
    """Set by hand. Must not change with time."""
    terms: LearningTerms = LearningTerms()
    students: dict[AgentId, Student] = field(default_factory=dict)
    """Those heard of, the latest last."""
    stale: dict[AgentId, None] = field(default_factory=dict)
    """Whose curve is behind what was seen, the longest first."""
    factor: float = 1.0
    """Turns hand-set units into worth a second."""
    as_of: Instant | None = None
    window_began: Instant = Instant(0)
    points: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.points = grid(self.terms.n_max)

    # --- what is asked

    def marginal(self, agent: AgentId, bundles: int) -> float:
        """Return the gain of one more bundle: finite, >= 0, falling in `bundles`."""
        student = self.students.get(agent)
        if student is None or student.fitted is None:
            return self.factor * self.prior.marginal(agent, bundles)
        upper = min(self._beyond(agent, student, student.fit.high, bundles + 1), student.ceiling)
        upper -= min(self._beyond(agent, student, student.fit.high, bundles), student.ceiling)
        gain = self.utility(agent, bundles + 1) - self.utility(agent, bundles)
        return max(0.0, gain + self.terms.explore * (upper - gain))

    def utility(self, agent: AgentId, bundles: float) -> float:
        """Return u_i: worth a second with `bundles` held."""
        student = self.students.get(agent)
        if student is None or student.fitted is None:
            return self.factor * self._by_hand(agent, bundles)
        return min(self._beyond(agent, student, student.fit.middle, bundles), student.ceiling)

    def band(self, agent: AgentId, bundles: int) -> tuple[float, float]:
        """Return between what the utility is thought to lie; of a cold agent anything >= 0."""
        student = self.students.get(agent)
        if student is None or student.fitted is None:
            return (0.0, float("inf"))
        middle = self.utility(agent, bundles)
        low = student.fit.low.at(bundles)
        high = self._beyond(agent, student, student.fit.high, bundles)
        return (min(low, middle), max(middle, min(high, student.ceiling)))

    # --- what is told

    def arrived(self, now: Instant, agent: AgentId) -> None:
        """Count a phase that came in."""
        del now
        student = self._student(agent)
        student.arrived += 1
        student.told = True

    def ended(self, now: Instant, end: Ended) -> None:
        """Count a grant that came to its end, for the time that it held its bundle."""
        del now
        terms = self.terms
        worth = terms.throughput_weight + (0.0 if end.late else terms.deadline_weight)
        worth *= terms.importance.get(end.agent, 1.0)
        held_s = max(1, since(end.began, end.ended)) / SECOND
        self._student(end.agent).ended(end.phase, worth, held_s, terms.phases_max)

    def observe(
        self, now: Instant, agent: AgentId, bundles: float, y: float, load: int | None = None
    ) -> None:
        """Count one window in which `bundles` in use yielded `y` a second, measured elsewhere.

        `load` is a bin, as `load_bin` names it; None: as the agent's is now.
        """
        del now
        assert isfinite(y), "a yield is finite"
        assert y >= 0, "a yield is not below 0"
        assert bundles > 0, "nothing comes of no bundles"
        window_s = self.terms.window_us / SECOND
        one = Sums()
        one.take(y * window_s, bundles * window_s)
        student = self._student(agent)
        load = self._load(student) if load is None else load
        self._book(agent, student, bundles, {NO_PHASE: one}, load)

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Go on to `now`; close a window that is over, fit what is due, and say if gains changed.

        `held` are the bundles that each agent has from now on.
        """
        if self.as_of is None:
            self.window_began = now
        passed = since(now if self.as_of is None else self.as_of, now)
        self.as_of = now if self.as_of is None else max(self.as_of, now)
        for agent, student in self.students.items():
            student.held_us += student.held * passed
            student.held = held.get(agent, 0)
        if (lasted := since(self.window_began, now)) >= self.terms.window_us:
            self.window_began = now
            for agent, student in self.students.items():
                self._close(agent, student, lasted)
        return self._refit(now)

    # --- windows

    def _student(self, agent: AgentId) -> Student:
        student = self.students.pop(agent, None) or Student()
        self.students[agent] = student
        if len(self.students) > self.terms.agents_max:
            longest = next(iter(self.students))
            del self.students[longest]
            self.stale.pop(longest, None)
        return student

    def _close(self, agent: AgentId, student: Student, lasted: Micros) -> None:
        """Book a window's ends where its bundles in use say, and begin the next."""
        keep = 0.5 ** (lasted / (self.terms.smooth_windows * self.terms.window_us))
        held = student.held_us / lasted
        student.mean_held += (1 - keep) * (held - student.mean_held)
        ends = student.window()
        busy = sum(sums.busy_s for sums in ends.values()) * SECOND / lasted
        student.mean_busy += (1 - keep) * (busy - student.mean_busy)
        rate = student.arrived * SECOND / lasted
        student.mean_arrivals += (1 - keep) * (rate - student.mean_arrivals)
        if ends:
            used = student.mean_busy
            if held and student.mean_held:
                used = held * min(1.0, student.mean_busy / student.mean_held)
            self._book(agent, student, used, ends, self._load(student))
        moved = abs(student.mean_arrivals - student.load_fitted)
        if student.fitted is not None and moved > LOAD_MOVED * max(student.load_fitted, RARE):
            self.stale[agent] = None
        student.held_us, student.arrived = 0, 0
        student.ends, student.ends_by_phase = Sums(), {}

    def _book(
        self, agent: AgentId, student: Student, used: float, ends: Mapping[str, Sums], load: int
    ) -> None:
        """Share `ends` between the points beside `used`; what this load saw before fades."""
        terms = self.terms
        seen = student.seen.setdefault(max(UNTOLD, min(load, LOAD_BINS - 1)), Seen())
        seen.fade(0.5 ** (1 / terms.half_life_windows))
        seen.book(ends, self._beside(used), terms.phases_max)
        student.mixed(ends, terms.mix_grants, terms.phases_max)
        student.windows += 1
        if student.windows >= self.terms.cold_windows:
            self.stale[agent] = None

    def _beside(self, used: float) -> Iterable[tuple[int, float]]:
        """Yield the places on the grid beside `used`, and the part of each; all of it in one."""
        points = self.points
        used = min(max(used, points[0]), points[-1])
        high = next(place for place, point in enumerate(points) if point >= used)
        low = max(0, high - 1)
        part = (used - points[low]) / (points[high] - points[low]) if high else 1.0
        yield high, part
        if part < 1:
            yield low, 1 - part

    @staticmethod
    def _load(student: Student) -> int:
        return load_bin(student.mean_arrivals) if student.told else UNTOLD

    # --- curves

    def _refit(self, now: Instant) -> bool:
        """Fit the curves that are due, some of them at a time; say whether there were any."""
        due = [agent for agent in self.stale if self._is_due(now, self.students[agent])]
        for agent in due[: self.terms.refits_per_tick]:
            del self.stale[agent]
            self._learn(agent, self.students[agent])
            self.students[agent].fitted = now
        if due:
            known = [s.height for s in self.students.values() if s.fitted is not None]
            self.factor = sum(known) / len(known)
        return bool(due)

    def _is_due(self, now: Instant, student: Student) -> bool:
        return student.fitted is None or since(student.fitted, now) >= self.terms.refit_us

    def _learn(self, agent: AgentId, student: Student) -> None:
        """Make the curve and its band from what was seen, and from the hand-set shape."""
        at = self._evidence(student, self._load(student))
        far = min(2 * self.points[max(at)], self.points[-1])
        points = [p for p in self.points if p <= far]
        by_hand = [self._by_hand(agent, p) for p in points]
        total, expected = Sums(), 0.0
        for place, sums in at.items():
            total.add(sums)
            expected += sums.busy_s * by_hand[place] / points[place]
        student.height = total.value / expected if expected > 0 else 0.0
        believed = {p: at[place] for place, p in enumerate(points) if place in at}
        guesses = [student.height * value for value in by_hand]
        student.fit = regress(points, believed, guesses, self.terms.trust)
        student.load_fitted = student.mean_arrivals
        mean = total.value / total.count
        capped = student.told and total.count > 0
        load = self.terms.headroom * student.mean_arrivals * mean
        student.ceiling = load if capped else float("inf")

    def _evidence(self, student: Student, load: int) -> Mapping[int, Sums]:
        """Return what was seen under `load`; while that is little, with the loads beside it.

        A rate near the border of two bins has its grants in both; so a bin is not believed
        without its neighbours before its own grants do for a mean.
        """
        at: dict[str, dict[int, Sums]] = {}
        windows, grants = 0.0, 0.0
        for near in sorted(student.seen, key=lambda other: (abs(other - load), other)):
            enough = grants >= self.terms.alone_grants or abs(near - load) > 1
            if enough and windows >= self.terms.cold_windows:
                break
            windows += student.seen[near].windows
            for phase, known in student.seen[near].phases():
                own = at.setdefault(phase, {})
                for place, sums in known.items():
                    own.setdefault(place, Sums()).add(sums)
                    grants += sums.count
        return blend(at, student.mix)

    def _beyond(self, agent: AgentId, student: Student, curve: Curve, n: float) -> float:
        """Return the curve at `n`; past its end it goes on as the hand-set one does, no steeper."""
        last = curve.points[-1]
        if n <= last:
            return curve.at(n)
        step = curve.slope(last - 1)
        by_hand = self.prior.marginal(agent, last)
        steepness = min(student.height, step / by_hand) if by_hand > 0 else 0.0
        further = self._by_hand(agent, n) - self._by_hand(agent, last)
        return curve.values[-1] + steepness * further

    def _by_hand(self, agent: AgentId, n: float) -> float:
        """Return the hand-set utility of `n` bundles: straight between the points of the grid."""
        student = self.students.get(agent)
        known = student.prior if student is not None else []
        while not known or (self.points[len(known) - 1] < n and len(known) < len(self.points)):
            place = len(known)
            begin, total = (self.points[place - 1], known[-1]) if place else (0, 0.0)
            gains = (self.prior.marginal(agent, k) for k in range(begin, self.points[place]))
            known.append(total + sum(gains))
        return Curve(self.points[: len(known)], tuple(known)).at(n)


def load_bin(arrivals: float) -> int:
    """Return the bin of a rate of arrivals a second: one for each doubling."""
    if arrivals <= 0:
        return 0
    return min(max(floor(log2(arrivals)) - SLOWEST_LOG2, 0), LOAD_BINS - 1)
