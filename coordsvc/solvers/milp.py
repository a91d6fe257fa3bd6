"""The plan of least regret variance as a mixed-integer linear program, for any solver of such.

A binary says that an operation starts, or a message is sent, in one step. The square of an agent's
distance from the mean is a variable above lines. Each line goes through the square at two
neighbouring points that a distance can have, so at those points nothing is lost: with a grain of 1
the optimum is that of the square itself. Coarser grains have fewer rows and overstate between them.

The rules are those of `cp_sat`: nobody's regret grows, utilisation stays in its band, and equal
variances are told apart by the smaller mean.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from coordsvc.solvers.instance import Instance, Message, Operation, Schedule
from coordsvc.solvers.regret import band, isolated, totals

Event = Operation | Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A weighted sum of variables that lies between two bounds."""

    low: float
    high: float
    weights: Mapping[int, float]


@dataclass(slots=True, kw_only=True)
class Program:
    """Variables by number: the first `binaries` are 0 or 1, the rest lie within their limits."""

    binaries: int = 0
    limits: list[tuple[float, float]] = field(default_factory=list)
    """Of the variables after the binaries."""
    lines: list[Line] = field(default_factory=list)
    costs: dict[int, float] = field(default_factory=dict)
    """To be made small."""
    steps: dict[Event, dict[int, int]] = field(default_factory=dict)
    """Of each operation and message, the binary of each step."""
    distances: list[tuple[int, int]] = field(default_factory=list)
    """Of each agent, the numbers of its distance from the mean and of the square."""

    def line(self, low: float, high: float, weights: Mapping[int, float]) -> None:
        """Add a line, unless it says nothing."""
        if weights:
            self.lines.append(Line(low=low, high=high, weights=dict(weights)))


def program(instance: Instance, baseline: Schedule, *, grain: int = 1) -> Program:
    """Return the program; grain is how many points of a distance lie between two lines' ends."""
    made = Program()
    first = min(instance.releases)
    shortest, longest = band(instance, baseline)
    end = first + longest
    for each in instance.operations:
        _event(made, each, range(instance.releases[each[1]], end - instance.duration(each) + 1))
    for message in instance.sends:
        _event(made, message, range(first, end))
    _order(made, instance, range(first, end))
    _limits(made, instance, range(first, end))
    late = {
        number: 1.0
        for each in instance.operations
        for step, number in made.steps[each].items()
        if step + instance.duration(each) >= first + shortest
    }
    made.line(1, inf, late)
    _squares(made, instance, totals(instance, baseline), grain)
    return made


def start(made: Program, instance: Instance, baseline: Schedule) -> list[float]:
    """Return the value of every variable in the baseline: what a solver begins with."""
    values = [0.0] * (made.binaries + len(made.limits))
    for each, steps in made.steps.items():
        values[steps[_when(baseline, each)]] = 1.0
    before = totals(instance, baseline)
    mean = sum(before) / len(before)
    for (distance, square), total in zip(made.distances, before, strict=True):
        values[distance] = total - mean
        values[square] = _above(made, distance, square, total - mean)
    return values


def schedule(made: Program, values: Sequence[float]) -> Schedule:
    """Return what a solver's values say: of each event the step that weighs most."""
    when = {
        each: max(steps, key=lambda step, steps=steps: values[steps[step]])  # type: ignore[misc]
        for each, steps in made.steps.items()
    }
    return Schedule(
        starts={each: step for each, step in when.items() if len(each) == 2},  # noqa: PLR2004
        sent={each: step for each, step in when.items() if len(each) == 3},  # noqa: PLR2004
    )


def _event(made: Program, each: Event, steps: range) -> None:
    made.steps[each] = {step: made.binaries + place for place, step in enumerate(steps)}
    made.binaries += len(steps)
    made.line(1, 1, dict.fromkeys(made.steps[each].values(), 1.0))


def _when(baseline: Schedule, each: Event) -> int:
    return baseline.starts[each] if len(each) == 2 else baseline.sent[each]  # noqa: PLR2004


def _order(made: Program, instance: Instance, steps: range) -> None:
    """Send after the finish, and begin after the arrival, in every step's running sums."""
    for a, b, number in instance.sends:
        sending = made.steps[a, b, number]
        lasts = instance.duration((a, number))
        for step in steps:
            _never_before(made, sending, step, made.steps[a, number], step - lasts)
            _never_before(made, made.steps[b, number], step, sending, step - 1)


def _never_before(
    made: Program, later: Mapping[int, int], by: int, earlier: Mapping[int, int], until: int
) -> None:
    weights = {number: 1.0 for step, number in later.items() if step <= by}
    if weights:
        weights |= {number: -1.0 for step, number in earlier.items() if step <= until}
        made.line(-inf, 0, weights)


def _limits(made: Program, instance: Instance, steps: range) -> None:
    """Keep to the GPUs, to one operation an agent, and to the messages of a step."""
    for step in steps:
        used: dict[int, float] = {}
        alone: dict[int, dict[int, float]] = defaultdict(dict)
        for each in instance.operations:
            for begin in range(step - instance.duration(each) + 1, step + 1):
                if begin in made.steps[each]:
                    number = made.steps[each][begin]
                    used[number] = instance.demands[each[0]]
                    alone[each[0]][number] = 1.0
        made.line(-inf, instance.capacity, used)
        for weights in alone.values() if instance.one_at_a_time else ():
            made.line(-inf, 1, weights)
        if instance.messages is not None:
            sent = {made.steps[each][step]: 1.0 for each in instance.sends}
            made.line(-inf, instance.messages, sent)


def _squares(made: Program, instance: Instance, before: Sequence[int], grain: int) -> None:
    alone = isolated(instance)
    agents, everything = len(before), sum(before)
    reach = max(before, default=0)
    sums: list[dict[int, float]] = [{} for _ in before]
    shifts = [0.0] * agents
    for each in instance.operations:
        shifts[each[0]] += instance.duration(each) - alone[each]
        for step, number in made.steps[each].items():
            sums[each[0]][number] = step
    for weights, shift, limit in zip(sums, shifts, before, strict=True):
        made.line(-inf, limit - shift, weights)
    tie = 1 / (agents * (everything + 1))
    points = [place / agents for place in range(-reach * agents, reach * agents + 1, grain)]
    for agent in range(agents):
        distance = made.binaries + len(made.limits)
        square = distance + 1
        made.limits += [(-reach, reach), (0, inf)]
        made.distances.append((distance, square))
        off = {number: -step / agents for one in sums for number, step in one.items()}
        for number, weight in sums[agent].items():
            off[number] += weight
        gap = shifts[agent] - sum(shifts) / agents
        made.line(gap, gap, {**{k: -w for k, w in off.items()}, distance: 1.0})
        for a, b in pairwise(points):
            made.line(-a * b, inf, {square: 1.0, distance: -(a + b)})
        made.costs[square] = 1.0
    for one in sums:
        made.costs.update({number: tie * step for number, step in one.items()})


def _above(made: Program, distance: int, square: int, value: float) -> float:
    """Return the least square that all lines allow at a distance."""
    under = (
        line.low - line.weights[distance] * value for line in made.lines if square in line.weights
    )
    return max([0.0, *under])
