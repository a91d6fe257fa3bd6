"""The instance of a dialogue service: turns that come one after the other, each a chain of phases.

An agent's demand is the share of one engine that a phase takes, so agents whose demands lie in
different resources can be planned together. All engines are one amount: that a phase must fit into
one of them is left to the allocator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordsvc.core.errors import BadRequest
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId
from coordsvc.solvers.instance import Instance, Schedule

SHARES = 1_000
"""Of one engine, so that shares are whole numbers."""
TURNS_MAX = 64
"""In one plan; a solver's time grows fast with them."""
HORIZON_MAX = 5_000
"""Steps that all phases would take one after the other, waits between turns included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Phases of a turn, in their order, and when turns come."""

    agents: tuple[AgentId, ...]
    demands: Mapping[AgentId, Resources]
    lasts_s: Mapping[AgentId, float]
    engine: Resources
    engines: int
    turns: int
    gap_s: float
    step_s: float


def instance(chain: Chain) -> Instance:
    """Return what a solver plans; `BadRequest` says what cannot be planned."""
    _check(chain)
    steps = {agent: max(1, round(chain.lasts_s[agent] / chain.step_s)) for agent in chain.agents}
    gap = round(chain.gap_s / chain.step_s)
    if (horizon := chain.turns * (sum(steps.values()) + gap)) > HORIZON_MAX:
        raise BadRequest(
            f"the plan has {horizon} steps; the most is {HORIZON_MAX}: take longer ones"
        )
    agents = range(len(chain.agents))
    return Instance(
        edges=tuple((before, before + 1) for before in agents[:-1]),
        releases=tuple(gap * turn for turn in range(chain.turns)),
        durations=tuple((steps[agent],) * chain.turns for agent in chain.agents),
        demands=tuple(_share(chain, agent) for agent in chain.agents),
        capacity=SHARES * chain.engines,
        messages=None,
        one_at_a_time=False,
    )


def order(agents: Sequence[AgentId], schedule: Schedule) -> tuple[tuple[int, AgentId], ...]:
    """Return the phases as a policy is told of them: by start, each its turn and its agent."""
    ranked = sorted(schedule.starts, key=lambda each: (schedule.starts[each], each[1], each[0]))
    return tuple((turn, agents[agent]) for agent, turn in ranked)


def _check(chain: Chain) -> None:
    for agent in chain.agents:
        if agent not in chain.lasts_s:
            raise BadRequest(f"how many seconds {agent}'s phase lasts is not said")
    for agent, lasts in chain.lasts_s.items():
        if agent not in chain.agents:
            known = ", ".join(chain.agents)
            raise BadRequest(f"{agent} is no agent of the deployment; there are {known}")
        if not 0 < lasts < float("inf"):
            raise BadRequest(f"{agent}'s phase lasts {lasts} s: it must be above 0")
    if not 1 <= chain.turns <= TURNS_MAX:
        raise BadRequest(f"turns is {chain.turns}: it must be 1 to {TURNS_MAX}")


def _share(chain: Chain, agent: AgentId) -> int:
    fit = chain.engine.times_held(chain.demands[agent])
    if fit < 1:
        raise BadRequest(f"{agent} wants more of an engine than there is: it would never run")
    return -(-SHARES // fit)
