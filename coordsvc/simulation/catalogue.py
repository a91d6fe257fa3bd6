"""The workloads by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from coordsvc.core.dialogue import PLANNER, RESPONDER
from coordsvc.core.units import SECOND, AgentId, Instant, Micros, TurnId, of_tenant
from coordsvc.simulation.arrivals import (
    Arrivals,
    bursty,
    diurnal,
    poisson,
    risen,
    rising,
    window_of,
)
from coordsvc.simulation.chance import Draws, Purpose, Shape, even, exponential, pareto, streams
from coordsvc.simulation.workload import (
    DIALOGUE,
    NodePlan,
    Turn,
    Workload,
    WorkloadTerms,
)

HEAVY = pareto(alpha=1.2, most=300.0)
"""Few turns make most of the load: of Pareto lengths with 1.2, a tenth makes about a half."""
SKEW = 3.0
"""How many times longer a phase is in the windows that are heavy on it."""
LARGE = {"memory": "large"}
ONE_KIND = (NodePlan(count=4, slots=4),)
MIXED = (
    NodePlan(count=2, slots=8, attributes=LARGE),
    NodePlan(count=4, slots=4, speed_milli=700, attributes=LARGE),
    NodePlan(count=4, slots=2, speed_milli=400),
)
TWO_WINDOW = ((0.7, 0.2, 0.1), (0.1, 0.2, 0.7))
"""Shares of three roles in turn: the best static split serves 1/1.6 of what the pool could."""
ROTATING = tuple(tuple(0.75 if role == at else 0.05 for role in range(6)) for at in range(6))
"""Six roles, each in turn the one that makes the load: the bound is 6 * 0.75 = 4.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a workload is drawn for."""

    seed: int
    load: float
    """Offered engine seconds, as a part of what the pool can compute."""
    capacity: float
    """Engine seconds that the pool computes in a second."""
    lasts_us: Micros
    """Nothing arrives later."""
    turns_max: int
    checked: bool
    """Whether the checker takes part."""
    terms: WorkloadTerms


Generator = Callable[[Asked], Workload]


@dataclass(slots=True)
class Drawing:
    """Draws dialogues, one after another."""

    asked: Asked
    chance: dict[Purpose, Draws]
    length: Shape | None = None
    """Of a whole turn, as a multiple; None where phases are long or short each for itself."""

    def dialogue(self, name: str, arrives: Instant, plan: float = 1.0, rest: float = 1.0) -> Turn:
        """Return a turn; its plan and its other phases are so many times as long as usual."""
        terms, costs = self.asked.terms, self.chance[Purpose.COSTS]
        rejections = self._rejections()
        means = [plan * terms.plan_us, rest * terms.respond_us]
        if self.asked.checked:
            means += [rest * terms.check_us]
            means += [rest * terms.respond_us, rest * terms.check_us] * rejections
        whole = self.length(costs.uniform()) if self.length else 1.0
        shape = even if self.length or terms.even else exponential
        drawn = tuple(_micros(mean * whole * shape(costs.uniform())) for mean in means)
        return Turn(
            turn=TurnId(name),
            arrives=arrives,
            costs_us=drawn,
            deadline_us=self.deadline(sum(drawn)),
            rejections=rejections,
            prompt=name,
        )

    def deadline(self, cost_us: int) -> Micros:
        """Return a deadline for a turn that costs so much."""
        terms, chance = self.asked.terms, self.chance[Purpose.DEADLINES]
        slack = terms.slacks[chance.below(len(terms.slacks))]
        return Micros(terms.floor_us + round(slack * cost_us))

    def mean_us(self) -> float:
        """Return the mean engine time of a dialogue."""
        terms = self.asked.terms
        if not self.asked.checked:
            return terms.plan_us + terms.respond_us
        revisions = sum(terms.rejected**n for n in range(1, terms.revisions_max + 1))
        return terms.plan_us + (1 + revisions) * (terms.respond_us + terms.check_us)

    def rate(self, mean_us: float) -> float:
        """Return how many turns a second make the load."""
        return self.asked.load * self.asked.capacity * SECOND / mean_us

    def _rejections(self) -> int:
        """Return how many revisions there will be; always draws the same number of numbers."""
        terms, checks = self.asked.terms, self.chance[Purpose.CHECKS]
        verdicts = [checks.uniform() < terms.rejected for _ in range(terms.revisions_max)]
        return [*verdicts, False].index(False) if self.asked.checked else 0


def _micros(amount: float) -> Micros:
    return Micros(max(1, round(amount)))


def _drawing(asked: Asked, length: Shape | None = None) -> Drawing:
    return Drawing(asked, streams(asked.seed), length)


def _instants(drawing: Drawing, process: Arrivals, mean_us: float) -> Iterator[Instant]:
    asked = drawing.asked
    arrivals = process(drawing.chance[Purpose.ARRIVALS], drawing.rate(mean_us), asked.lasts_us)
    for count, arrival in enumerate(arrivals):
        if count == asked.turns_max:
            return
        yield arrival


def _dialogues(process: Arrivals, length: Shape | None = None) -> Generator:
    def generate(asked: Asked) -> Workload:
        drawing = _drawing(asked, length)
        instants = _instants(drawing, process, drawing.mean_us())
        turns = tuple(drawing.dialogue(f"t{n}", at) for n, at in enumerate(instants))
        return Workload(turns=turns, agents=_team(asked))

    return generate


def _team(asked: Asked) -> tuple[AgentId, ...]:
    return DIALOGUE if asked.checked else (PLANNER, RESPONDER)


def _phase_skewed(asked: Asked) -> Workload:
    """Draw windows that are heavy on plans, then on drafts, in turn; the load stays the same."""
    drawing = _drawing(asked)
    windows = asked.terms.windows or 4
    mean = drawing.mean_us()
    plan = asked.terms.plan_us
    heavy = (SKEW, (mean - SKEW * plan) / (mean - plan))
    light = (1 / SKEW, (mean - plan / SKEW) / (mean - plan))
    if heavy[1] <= 0:
        raise ValueError(f"plans of {plan} us leave no room to be {SKEW} times as long")
    turns = []
    for n, at in enumerate(_instants(drawing, poisson, mean)):
        skew = light if window_of(at, asked.lasts_us, windows) % 2 else heavy
        turns.append(drawing.dialogue(f"t{n}", at, *skew))
    return Workload(turns=tuple(turns), agents=_team(asked))


def _ramp(asked: Asked) -> Workload:
    """Draw what poisson draws, more and more of it after a while."""
    return _dialogues(rising(asked.terms.drift_begins, asked.terms.drift_to))(asked)


def _growing(asked: Asked) -> Workload:
    """Draw what poisson draws; drafts and checks come to take longer after a while."""
    drawing = _drawing(asked)
    turns = []
    for n, at in enumerate(_instants(drawing, poisson, drawing.mean_us())):
        rest = risen(at / asked.lasts_us, asked.terms.drift_begins, asked.terms.drift_to)
        turns.append(drawing.dialogue(f"t{n}", at, rest=rest))
    return Workload(turns=tuple(turns), agents=_team(asked))


def _tenants(asked: Asked) -> Workload:
    drawing = _drawing(asked)
    names = tuple(f"tenant{n + 1}" for n in range(asked.terms.tenants))
    weights = tuple(1 / (n + 1) for n in range(len(names)))
    turns = []
    for n, at in enumerate(_instants(drawing, poisson, drawing.mean_us())):
        whose = names[drawing.chance[Purpose.ROLES].one_in(weights)]
        turns.append(_given_to(whose, drawing.dialogue(f"t{n}", at)))
    agents = tuple(of_tenant(name, agent) for name in names for agent in _team(asked))
    return Workload(turns=tuple(turns), agents=agents)


def _given_to(tenant: str, turn: Turn) -> Turn:
    return Turn(
        turn=turn.turn,
        arrives=turn.arrives,
        costs_us=turn.costs_us,
        deadline_us=turn.deadline_us,
        tenant=tenant,
        rejections=turn.rejections,
        prompt=turn.prompt,
    )


def _heterogeneous(asked: Asked) -> Workload:
    """Draw what poisson draws; drafts need a node with much memory."""
    plain = _dialogues(poisson)(asked)
    return Workload(turns=plain.turns, agents=plain.agents, requires={RESPONDER: LARGE})


def _closed_loop(asked: Asked) -> Workload:
    chains = tuple(_user(asked, user) for user in range(asked.terms.users))
    return Workload(chains=chains, agents=_team(asked))


def _user(asked: Asked, user: int) -> Iterator[Turn]:
    drawing = Drawing(asked, streams(asked.seed, 1 + user))
    thinks = drawing.chance[Purpose.USERS]
    for n in range(asked.turns_max):
        thought = thinks.wait(SECOND / asked.terms.think_us)
        yield drawing.dialogue(f"u{user}.{n}", Instant(thought))


def _mix(shares: tuple[tuple[float, ...], ...]) -> Generator:
    """Return the workload in which each window has these shares of the load, by role."""
    names = tuple(AgentId(f"role{n + 1}") for n in range(len(shares[0])))

    def single(drawing: Drawing, name: str, at: Instant) -> Turn:
        terms, chance = drawing.asked.terms, drawing.chance
        windows = terms.windows or len(shares)
        of_all = chance[Purpose.ROLES].uniform()
        roles = [_at_part(shares[n % len(shares)], of_all) for n in range(windows)]
        cost = _micros(terms.role_us * exponential(chance[Purpose.COSTS].uniform()))
        return Turn(
            turn=TurnId(name),
            arrives=at,
            costs_us=(cost,),
            deadline_us=drawing.deadline(cost),
            roles=tuple(names[role] for role in roles),
            prompt=name,
        )

    def user(asked: Asked, number: int) -> Iterator[Turn]:
        drawing = Drawing(asked, streams(asked.seed, 1 + number))
        for n in range(asked.turns_max):
            yield single(drawing, f"u{number}.{n}", Instant(0))

    def generate(asked: Asked) -> Workload:
        if users := asked.terms.mix_users:
            return Workload(chains=tuple(user(asked, n) for n in range(users)), agents=names)
        drawing = _drawing(asked)
        instants = _instants(drawing, poisson, asked.terms.role_us)
        turns = tuple(single(drawing, f"t{n}", at) for n, at in enumerate(instants))
        return Workload(turns=turns, agents=names)

    return generate


def _at_part(shares: tuple[float, ...], of_all: float) -> int:
    """Return whose share lies at this part of all shares laid end to end."""
    left = of_all * sum(shares)
    for index, share in enumerate(shares):
        left -= share
        if left < 0:
            return index
    return len(shares) - 1


GENERATORS: Mapping[str, Generator] = {
    "poisson": _dialogues(poisson),
    "bursty": _dialogues(bursty),
    "diurnal": _dialogues(diurnal),
    "ramp": _ramp,
    "growing": _growing,
    "phase_skewed": _phase_skewed,
    "heavy_tailed": _dialogues(poisson, HEAVY),
    "tenants": _tenants,
    "heterogeneous": _heterogeneous,
    "closed_loop": _closed_loop,
    "two_window": _mix(TWO_WINDOW),
    "rotating": _mix(ROTATING),
}

NAMES = tuple(GENERATORS)
"""What a workload may be called."""
DRIFTING = ("ramp", "growing")
"""Those whose load does not stay what it is, up to where the pool breaks down."""
STEADY = tuple(name for name in NAMES if name not in DRIFTING)


def usual_nodes(workload: str) -> tuple[NodePlan, ...]:
    """Return the pool that a workload is meant for, where nothing else is said."""
    return MIXED if workload == "heterogeneous" else ONE_KIND


def draw(workload: str, asked: Asked) -> Workload:
    """Return the turns of one run; the same for the same arguments, on any machine.

    Raises:
        ValueError: the name is none of `NAMES`.

    """
    if workload not in GENERATORS:
        raise ValueError(f"there is no workload {workload!r}; there are {', '.join(NAMES)}")
    return GENERATORS[workload](asked)
