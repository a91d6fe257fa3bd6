"""The policies by name, and what each may be told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coordsvc.core.learning import LearnedUtilities, LearningTerms
from coordsvc.core.policies import Policy
from coordsvc.core.policies.attained_service import AttainedService
from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.policies.first_come import FirstCome
from coordsvc.core.policies.oldest_first import OldestFirst
from coordsvc.core.policies.planned import Planned
from coordsvc.core.policies.round_robin import RoundRobin
from coordsvc.core.policies.slack import Slack
from coordsvc.core.policies.static_partition import StaticPartition
from coordsvc.core.policies.utilities import PowerUtilities, Utilities
from coordsvc.core.policies.utility import Utility
from coordsvc.core.policies.virtual_finish import VirtualFinish
from coordsvc.core.units import MILLISECOND, SECOND, AgentId, Micros, RoleId


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTerms:
    """Which policy, and the few things that each looks at; the others ignore them."""

    name: str = "fair_share"
    """One of `NAMES`. Fair sharing needs to know nothing, and starves nobody."""
    queues: int = 8
    """attained_service: number of queues. With the defaults the last begins at 16 s of engine
    time, which few turns reach."""
    first_queue_us: Micros = Micros(250 * MILLISECOND)
    """attained_service: engine time that ends the first queue; about a short phase, so that a
    turn's first phases all start there."""
    queue_growth: int = 2
    """attained_service: how many times further each queue reaches than the one before."""
    starved_at: int = 10
    """attained_service: how many times as long as it was served a turn waits before it goes to
    the first queue. Lower, and under load all are in the first queue: first come."""
    turn_weights: Mapping[AgentId, int] = field(default_factory=dict)
    """virtual_finish: weights of turns, by the agent of their first phase; 1 where not said."""
    turn_unknown_us: Micros = Micros(5 * SECOND)
    """virtual_finish: engine time of a turn of which nobody knows it; some seconds are usual."""
    turns_max: int = 65_536
    """virtual_finish, planned: turns remembered; a minute's worth at a thousand a second."""
    plan: tuple[tuple[int, AgentId], ...] = ()
    """planned: phases in their order, each the number of its turn and its agent; no default."""
    partition: Mapping[RoleId, int] = field(default_factory=dict)
    """static_partition: the share of each child of the root; it has no default, for nobody else
    knows who should be there."""
    utility_weights: Mapping[AgentId, float] = field(default_factory=dict)
    """utility, set by hand: weights relative to each other; 1 where nothing is said."""
    utility_alpha: float = 0.5
    """utility, set by hand: u(n) = weight * n**alpha, and log(1 + n) for 0. At a half, four times
    the weight is a right to sixteen times the bundles; at 0, to four times."""
    learning: LearningTerms | None = None
    """utility: learn the utilities online, beginning with those set by hand; None does not."""


def make(terms: PolicyTerms, utilities: Utilities | None = None) -> Policy:
    """Return a new policy; `utilities` take the place of those set by hand.

    Raises:
        ValueError: the name is none of `NAMES`, or a parameter of that policy is out of range.

    """
    if terms.name not in NAMES:
        raise ValueError(f"there is no policy {terms.name!r}; there are {', '.join(NAMES)}")
    if terms.name == "utility" and utilities is not None:
        return Utility(utilities=utilities)
    return _MAKERS[terms.name](terms)


def _attained_service(terms: PolicyTerms) -> Policy:
    _at_least("queues", terms.queues, 1)
    _at_least("first_queue_us", terms.first_queue_us, 1)
    _at_least("queue_growth", terms.queue_growth, 2)
    _at_least("starved_at", terms.starved_at, 1)
    return AttainedService(
        queues=terms.queues,
        first_us=terms.first_queue_us,
        growth=terms.queue_growth,
        beta=terms.starved_at,
    )


def _virtual_finish(terms: PolicyTerms) -> Policy:
    for agent, weight in sorted(terms.turn_weights.items()):
        _at_least(f"turn_weights of {agent}", weight, 1)
    _at_least("turn_unknown_us", terms.turn_unknown_us, 1)
    _at_least("turns_max", terms.turns_max, 1)
    return VirtualFinish(
        weights=terms.turn_weights, unknown_us=terms.turn_unknown_us, turns_max=terms.turns_max
    )


def _planned(terms: PolicyTerms) -> Policy:
    _at_least("turns_max", terms.turns_max, 1)
    if not terms.plan:
        raise ValueError("planned needs a plan: `coordsvc schedule` makes one")
    twice = [each for n, each in enumerate(terms.plan) if each in terms.plan[:n]]
    if twice:
        raise ValueError(f"plan names {twice[0][1]} of turn {twice[0][0]} twice")
    numbers = {turn for turn, _ in terms.plan}
    if numbers != set(range(len(numbers))):
        told = ", ".join(map(str, sorted(numbers)))
        raise ValueError(f"plan is of turns {told}; they are counted from 0, none left out")
    return Planned(order=terms.plan, turns_max=terms.turns_max)


def _static_partition(terms: PolicyTerms) -> Policy:
    for role, share in sorted(terms.partition.items()):
        _at_least(f"partition of {role}", share, 0)
    if not any(terms.partition.values()):
        raise ValueError("static_partition needs a share above 0 for at least one role")
    return StaticPartition(shares=terms.partition)


def _utility(terms: PolicyTerms) -> Policy:
    for agent, weight in sorted(terms.utility_weights.items()):
        _at_least(f"utility_weights of {agent}", weight, 0)
    if not 0 <= terms.utility_alpha <= 1:
        raise ValueError(f"utility_alpha is {terms.utility_alpha}; it is from 0 to 1")
    by_hand = PowerUtilities(weights=terms.utility_weights, alpha=terms.utility_alpha)
    if terms.learning is None:
        return Utility(utilities=by_hand)
    return Utility(utilities=LearnedUtilities(prior=by_hand, terms=terms.learning))


def _at_least(what: str, value: float, least: int) -> None:
    if not least <= value < float("inf"):
        raise ValueError(f"{what} is {value}; it is at least {least}, and finite")


_MAKERS: Mapping[str, Callable[[PolicyTerms], Policy]] = {
    "fair_share": lambda _: FairShare(),
    "utility": _utility,
    "oldest_first": lambda _: OldestFirst(),
    "attained_service": _attained_service,
    "slack": lambda _: Slack(),
    "virtual_finish": _virtual_finish,
    "planned": _planned,
    "round_robin": lambda _: RoundRobin(),
    "first_come": lambda _: FirstCome(),
    "static_partition": _static_partition,
}

NAMES = tuple(_MAKERS)
"""What `PolicyTerms.name` may be."""
