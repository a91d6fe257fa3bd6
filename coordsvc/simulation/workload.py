"""What is asked of the pool: turns, with all that does not depend on how they are served.

A workload is drawn before anything runs, each purpose from a stream of its own; so every policy
sees the same arrivals, costs, deadlines and verdicts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER
from coordsvc.core.units import SECOND, AgentId, Instant, Micros, TurnId

DIALOGUE = (PLANNER, RESPONDER, CHECKER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn, as it will be however it is served."""

    turn: TurnId
    arrives: Instant
    """Of a user who thinks: how long after the end of the turn before."""
    costs_us: tuple[Micros, ...]
    """Engine time of each phase, alone, on a node of speed 1; in the order that they run."""
    deadline_us: Micros
    """How long it may take, counted from its arrival."""
    tenant: str = ""
    """Whose it is; nothing where there are no tenants."""
    roles: tuple[AgentId, ...] = ()
    """Of a turn of one phase: its agent, by the window that it arrives in. None of a dialogue."""
    rejections: int = 0
    """How many of its drafts the checker rejects; each is revised and checked again."""
    prompt: str = ""
    """The conversation that it goes on with."""

    @property
    def cost_us(self) -> Micros:
        """Engine time of the whole turn, alone, on a node of speed 1."""
        return Micros(sum(self.costs_us))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """Some nodes that are alike."""

    count: int = 1
    slots: int = 4
    """Bundles that run at once on each."""
    speed_milli: int = 1_000
    """Engine seconds that a slot computes in a thousand seconds."""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadTerms:
    """What the workloads look at; each ignores what does not concern it."""

    plan_us: Micros = Micros(400_000)
    """Mean engine time of a plan; a plan is short."""
    respond_us: Micros = Micros(1_000_000)
    """Of a draft or a revision: the longest phase."""
    check_us: Micros = Micros(300_000)
    """Of a check: much is read, little written."""
    role_us: Micros = Micros(1_000_000)
    """Of a turn of one phase, in the mixes."""
    rejected: float = 0.2
    """Part of the drafts that the checker rejects."""
    revisions_max: int = 1
    """As in the service: one revision, then the best draft is sent."""
    even: bool = False
    """Whether phases take a half to one and a half of their mean, all alike likely; as replies do
    that a limit on tokens cuts. Else they are exponential."""
    slacks: tuple[float, ...] = (4.0, 8.0, 16.0)
    """A turn's deadline is one of these times its cost, and `floor_us`. Some are in a hurry."""
    floor_us: Micros = Micros(SECOND)
    """What any deadline grants beside."""
    windows: int = 0
    """How often the load changes during a run; 0 for what suits the workload."""
    drift_begins: float = 0.3
    """Part of the run after which what drifts begins to: `ramp`'s rate, `growing`'s lengths."""
    drift_to: float = 1.8
    """How many times as much it is in the end."""
    tenants: int = 8
    """The k-th has 1/k of the first one's load."""
    users: int = 32
    """Of the closed loop."""
    think_us: Micros = Micros(2 * SECOND)
    """Mean time that a user of the closed loop thinks."""
    mix_users: int = 0
    """Where above 0, the mixes are asked by so many users who never think, whatever the load: then
    what is served is what can be. In an open mix, walled roles work off in one window what
    they were asked in another, and the walls seem to cost less than they do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All that is asked in one run."""

    turns: tuple[Turn, ...] = ()
    """In the order that they arrive."""
    chains: tuple[Iterator[Turn], ...] = ()
    """One for each user who waits for an answer before asking on."""
    agents: tuple[AgentId, ...]
    """Every agent that may be asked."""
    requires: Mapping[AgentId, Mapping[str, str]] = field(default_factory=dict)
    """Attributes of the nodes that an agent can use; any node where not said."""

    def only(self, tenant: str) -> "Workload":
        """Return what remains when this tenant is alone."""
        return Workload(
            turns=tuple(turn for turn in self.turns if turn.tenant == tenant),
            chains=self.chains,
            agents=self.agents,
            requires=self.requires,
        )
