"""Utilities learned online, beside those that the simulator knows, and those set by hand.

Phases are worth 1 each, times their agent's importance (nothing is said of deadlines), so that
what n bundles yield is known: with a mean cost of c seconds, importance / c a second each, up to
what comes in. That is the truth that a learner is held against:

* `error`: how far u is from the true one at the number of bundles that the agent held on average:
  there it was seen. From 500 phases with exponential costs not even their own mean is nearer than
  3.6 % on average (0.8 / sqrt(500)): the least that an estimate can err. `error_below` is the mean
  over all smaller numbers, too, of which most were hardly seen: there the hand-set shape counts.
* `value`: the pool is shared out by what was learned, and by the truth, for the same load; both
  shares are judged by the truth.
* `worst_window`: what the phases of each window were worth in a run that learns, over one by hand.
  By chance alone windows differ: of two orders one ends a long phase a little sooner. How much
  that is shows `worst_window_known`, of utilities that need not learn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor, isfinite
from statistics import mean
from typing import Any

from coordsvc.bench.policies_figures import interval, significant, target
from coordsvc.bench.policies_runs import Doing, Say, alike
from coordsvc.core.learning import LearnedUtilities, LearningTerms
from coordsvc.core.policies import Ended, Policy
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.policies.utilities import PowerUtilities, Utilities
from coordsvc.core.policies.utility import Utility
from coordsvc.core.units import SECOND, AgentId, Instant, of_tenant, seconds
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.simulate import simulate
from coordsvc.simulation.workload import DIALOGUE, WorkloadTerms

SLOTS = 16
TURNS_MIN = 500
"""Of each agent; then what was learned is looked at."""
WINDOW_S = 40
"""Some hundreds of phases; of fewer the worth is chance."""
COLD_S = 40
"""Twenty windows with ended grants, and some in which nothing ended: no agent is cold later."""
ERROR_MAX, VALUE_MIN, WINDOW_MIN = 0.05, 0.95, 0.9
LEAST_ERROR = 0.8 / TURNS_MIN**0.5
TENANTS = 2
IMPORTANCE = (1.0, 3.0)
"""Of the tenants' phases: those of the smallest are worth most."""
OVERLOAD = 1.1
WAYS = ("hand_set", "learned", "known")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run; of dialogues of one team, or of tenants whose phases are not worth the same."""

    tenants: bool
    way: str
    """One of `WAYS`."""
    load: float
    seed: int
    run_s: float

    def agents(self) -> tuple[AgentId, ...]:
        """Return every agent."""
        if not self.tenants:
            return DIALOGUE
        names = [f"tenant{n + 1}" for n in range(TENANTS)]
        return tuple(of_tenant(name, agent) for name in names for agent in DIALOGUE)

    def importance(self) -> dict[AgentId, float]:
        """Return what each agent's phases are worth."""
        if not self.tenants:
            return dict.fromkeys(self.agents(), 1.0)
        worth = {f"tenant{n + 1}": IMPORTANCE[n] for n in range(TENANTS)}
        return {agent: worth[agent.split("/")[0]] for agent in self.agents()}

    def settings(self) -> SimSettings:
        """Return the run's settings, but for the policy."""
        return SimSettings(
            workload="tenants" if self.tenants else "poisson",
            seed=self.seed,
            load=self.load,
            lasts_us=seconds(self.run_s),
            nodes=alike(SLOTS),
            workload_terms=WorkloadTerms(tenants=TENANTS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a bundle of an agent truly yields, and how much of it the load can use."""

    each: float
    """Worth a second."""
    most: float
    """Worth a second of all that comes in."""


@dataclass(kw_only=True)
class KnownUtilities:
    """Utilities as only a simulator knows them: they need not learn."""

    truth: Mapping[AgentId, Known]
    headroom: float = LearningTerms().headroom

    def marginal(self, agent: AgentId, bundles: int) -> float:
        """Return the gain of one more bundle."""
        return self.utility(agent, bundles + 1) - self.utility(agent, bundles)

    def utility(self, agent: AgentId, bundles: float) -> float:
        """Return u_i: what the bundles yield, and not more than comes in, with headroom."""
        known_of = self.truth[agent]
        return min(bundles * known_of.each, self.headroom * known_of.most)

    def arrived(self, now: Instant, agent: AgentId) -> None:
        """Learn nothing."""

    def ended(self, now: Instant, end: Ended) -> None:
        """Learn nothing."""

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Say that gains do not change."""
        del now, held
        return False


@dataclass(kw_only=True)
class Watched:
    """Any utilities, and a record of what ended under them."""

    inner: Utilities
    importance: Mapping[AgentId, float]
    windows: list[float] = field(default_factory=list)
    """What the phases were worth that ended in each."""
    ends: dict[AgentId, int] = field(default_factory=dict)
    curves: dict[AgentId, tuple[float, ...]] = field(default_factory=dict)
    """u(0), u(1), ... when each agent had had enough turns; empty before."""
    held: dict[AgentId, int] = field(default_factory=dict)
    """Until then, added up over ticks."""
    ticks: int = 0

    def mean_held(self) -> dict[AgentId, float]:
        """Return how many bundles each agent held on average until it had had enough turns."""
        return {agent: of_all / max(1, self.ticks) for agent, of_all in self.held.items()}

    def marginal(self, agent: AgentId, bundles: int) -> float:
        """Pass it on."""
        return self.inner.marginal(agent, bundles)

    def utility(self, agent: AgentId, bundles: float) -> float:
        """Pass it on."""
        return self.inner.utility(agent, bundles)

    def arrived(self, now: Instant, agent: AgentId) -> None:
        """Pass it on."""
        self.inner.arrived(now, agent)

    def ended(self, now: Instant, end: Ended) -> None:
        """Note what it was worth."""
        self.inner.ended(now, end)
        place = now // (WINDOW_S * SECOND)
        self.windows += [0.0] * (place + 1 - len(self.windows))
        self.windows[place] += self.importance[end.agent]
        self.ends[end.agent] = self.ends.get(end.agent, 0) + 1

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Note the curves once, when all agents have had enough turns."""
        changed = self.inner.refresh(now, held)
        if not self.curves:
            self.ticks += 1
            for agent in self.importance:
                self.held[agent] = self.held.get(agent, 0) + held.get(agent, 0)
        enough = all(self.ends.get(agent, 0) >= TURNS_MIN for agent in self.importance)
        if enough and not self.curves:
            self.curves = {
                agent: tuple(self.inner.utility(agent, n) for n in range(SLOTS + 1))
                for agent in self.importance
            }
        return changed


def truth_of(case: Case) -> dict[AgentId, Known]:
    """Return what the simulator knows of each agent."""
    settings = case.settings()
    terms = settings.workload_terms
    drafts = 1 + sum(terms.rejected**n for n in range(1, terms.revisions_max + 1))
    costs = (terms.plan_us, terms.respond_us, terms.check_us)
    phases = (1.0, drafts, drafts)
    turn_s = sum(c * p for c, p in zip(costs, phases, strict=True)) / SECOND
    rate = case.load * settings.speed / turn_s
    weights = [1 / (n + 1) for n in range(TENANTS)] if case.tenants else [1.0]
    parts = [weight / sum(weights) for weight in weights for _ in DIALOGUE]
    found = {}
    for n, (agent, worth) in enumerate(case.importance().items()):
        cost_s, often = costs[n % len(costs)] / SECOND, phases[n % len(phases)]
        each, most = worth / cost_s, worth * rate * parts[n] * often
        found[agent] = Known(each=each, most=most)
    return found


def run(case: Case) -> dict[str, Any]:
    """Return what each window was worth, and the curves."""
    importance = case.importance()
    by_hand = PowerUtilities(weights=importance)
    inner: Utilities = by_hand
    if case.way == "known":
        inner = KnownUtilities(truth=truth_of(case))
    if case.way == "learned":
        terms = LearningTerms(throughput_weight=1.0, deadline_weight=0.0, importance=importance)
        inner = LearnedUtilities(prior=by_hand, terms=terms)
    watched = Watched(inner=inner, importance=importance)

    def make(_: PolicyTerms) -> Policy:
        return Utility(utilities=watched)

    result = simulate(replace(case.settings(), make_policy=make))
    whole = int(case.run_s // WINDOW_S)
    return {
        "windows": (watched.windows + [0.0] * whole)[:whole],
        "curves": watched.curves,
        "held": watched.mean_held(),
        "turns_per_s": result.turns_per_s,
    }


def errors_of(curve: Sequence[float], truth: Known, held: float) -> list[float]:
    """Return the relative error of u(1), u(2), ... and last of u at what was held on average.

    Between whole numbers a curve is straight.
    """
    held = min(len(curve) - 1.0, max(1.0, held))
    errors = []
    for n in [*range(1, ceil(held)), held]:
        low = min(floor(n), len(curve) - 2)
        learned = curve[low] + (n - low) * (curve[low + 1] - curve[low])
        errors.append(abs(learned / min(n * truth.each, truth.most) - 1))
    return errors


def value(curves: Mapping[AgentId, Sequence[float]], known_of: KnownUtilities) -> float:
    """Return the worth of sharing the pool by these curves, over that of doing so by the truth."""
    by_truth = {
        agent: [known_of.utility(agent, n) for n in range(len(curve))]
        for agent, curve in curves.items()
    }
    reached = _worth(_shared_out(curves), by_truth)
    return reached / _worth(_shared_out(by_truth), by_truth)


def worst_window(learned: Sequence[float], by_hand: Sequence[float]) -> float:
    """Return the least that a window was worth after the cold, over the same one by hand."""
    first = -(-COLD_S // WINDOW_S)
    pairs = zip(learned[first:], by_hand[first:], strict=True)
    ratios = [mine / other for mine, other in pairs if other]
    assert ratios, "some windows come after the cold"
    assert all(isfinite(one) for one in ratios), "worths are finite"
    return min(ratios)


def _shared_out(curves: Mapping[AgentId, Sequence[float]]) -> dict[AgentId, int]:
    """Return who gets how many bundles: each goes where it gains most."""
    given = dict.fromkeys(curves, 0)
    for _ in range(SLOTS):
        gains = {
            agent: curve[given[agent] + 1] - curve[given[agent]]
            for agent, curve in curves.items()
            if given[agent] + 1 < len(curve)
        }
        most = max(gains, key=lambda agent: (gains[agent], agent))
        given[most] += 1
    return given


def _worth(given: Mapping[AgentId, int], curves: Mapping[AgentId, Sequence[float]]) -> float:
    return sum(curves[agent][bundles] for agent, bundles in given.items())


def measure(seeds: Sequence[int], run_s: float, do: Doing[Any, Any], say: Say) -> dict[str, Any]:
    """Return how well utilities are learned, and what was to show."""
    cases: dict[str, Any] = {}
    must: list[dict[str, Any]] = []
    for name, tenants, load in (
        ("dialogues, load 0.9", False, 0.9),
        (f"{TENANTS} tenants of unlike importance, load {OVERLOAD}", True, OVERLOAD),
    ):
        say(f"learning: {name}")
        first = Case(tenants=tenants, way="", load=load, seed=0, run_s=run_s)
        runs = {
            way: list(do(run, [replace(first, way=way, seed=seed) for seed in seeds]))
            for way in WAYS
        }
        cases[name] = _told(runs, first)
        must += _shown(name, cases[name])
    return {
        "turns_of_each": TURNS_MIN,
        "least_error": significant(LEAST_ERROR),
        "cases": cases,
        "must_show": must,
    }


def _told(runs: Mapping[str, Sequence[Mapping[str, Any]]], case: Case) -> dict[str, Any]:
    truth = truth_of(case)
    known_of = KnownUtilities(truth=truth)
    curves = [one["curves"] for one in runs["learned"]]
    errors = [
        [errors_of(curve, truth[agent], one["held"][agent]) for agent, curve in seen.items()]
        for one in runs["learned"]
        if (seen := one["curves"])
    ]
    at_use = [mean(agent[-1] for agent in one) for one in errors]
    below = [mean(mean(agent) for agent in one) for one in errors]
    values = [value(one, known_of) for one in curves if one]
    worst = {
        way: [
            worst_window(one["windows"], other["windows"])
            for one, other in zip(runs[way], runs["hand_set"], strict=True)
        ]
        for way in ("learned", "known")
    }
    first = -(-COLD_S // WINDOW_S)
    worths = {way: [sum(one["windows"][first:]) for one in runs[way]] for way in WAYS}
    return {
        "seeds_with_enough_turns": len(errors),
        "error": interval(at_use) if at_use else None,
        "error_below": interval(below) if below else None,
        "value": interval(values) if values else None,
        "value_least": significant(min(values)) if values else None,
        "worst_window": significant(min(worst["learned"])),
        "worst_window_by_seed": interval(worst["learned"]),
        "worst_window_known": significant(min(worst["known"])),
        "worth_vs_hand_set": significant(sum(worths["learned"]) / sum(worths["hand_set"])),
        "worth_vs_known": significant(sum(worths["learned"]) / sum(worths["known"])),
        "turns_per_s": {way: interval([one["turns_per_s"] for one in runs[way]]) for way in WAYS},
    }


def _shown(name: str, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    error = told["error"] and told["error"]["mean"]
    least = told["value_least"]
    return [
        target(
            f"{name}: mean relative error of u where it was seen", error, ERROR_MAX, at_least=False
        ),
        target(f"{name}: value of the shares, worst seed", least, VALUE_MIN, at_least=True),
        target(
            f"{name}: worth over hand-set ones', worst window of all seeds",
            told["worst_window"],
            WINDOW_MIN,
            at_least=True,
        ),
    ]
