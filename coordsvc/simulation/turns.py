"""A turn on its way through its phases, as the production dialogue has it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from coordsvc.core.dialogue import (
    CHECKER,
    PLANNER,
    RESPONDER,
    WORKER,
    Dialogue,
    Phase,
    Reply,
    ReplyMode,
    Rules,
    Run,
    Verdict,
)
from coordsvc.core.units import AgentId, Instant, Micros, NodeId, after, of_tenant
from coordsvc.core.waits import Wait
from coordsvc.simulation.workload import Turn

ACCEPTED = Verdict(accept=True, score=8, reason="simulated")
REJECTED = Verdict(accept=False, score=3, reason="simulated")
STILL_TO_COME: dict[Phase, tuple[AgentId, ...]] = {
    Phase.PLAN: (RESPONDER, CHECKER),
    Phase.RESPOND: (CHECKER,),
    Phase.CHECK: (),
    Phase.REVISE: (CHECKER,),
}
"""Who usually works on a turn after each phase: most drafts are accepted."""


@dataclass(slots=True)
class Means:
    """What phases of each agent cost on average, as far as they have ended."""

    sums: dict[AgentId, int] = field(default_factory=dict)
    counts: dict[AgentId, int] = field(default_factory=dict)

    def add(self, agent: AgentId, cost_us: int) -> None:
        """Take note of a phase that ended."""
        self.sums[agent] = self.sums.get(agent, 0) + cost_us
        self.counts[agent] = self.counts.get(agent, 0) + 1

    def of(self, agent: AgentId) -> int:
        """Return the mean, in whole microseconds; 0 before the first."""
        count = self.counts.get(agent, 0)
        return self.sums[agent] // count if count else 0


class LiveTurn:
    """Where one turn stands."""

    __slots__ = (
        "agent",
        "arrived",
        "attained_us",
        "attempts",
        "calls",
        "chain",
        "cost_us",
        "deadline",
        "dialogue",
        "ended",
        "index",
        "near",
        "phase",
        "rules",
        "turn",
        "waited_us",
    )

    def __init__(
        self,
        turn: Turn,
        arrived: Instant,
        rules: Rules,
        chain: Iterator[Turn] | None,
        role: AgentId | None = None,
    ) -> None:
        """Take a turn that has arrived; `role` is the agent of a turn of one phase."""
        self.turn = turn
        self.arrived = arrived
        self.deadline = after(arrived, turn.deadline_us)
        self.ended: Instant | None = None
        self.rules = rules
        self.chain = chain
        self.dialogue = None if turn.roles else Dialogue(rules, ReplyMode.CHECK_THEN_SEND)
        self.index = 0
        """Of the phase at hand."""
        self.phase: Phase | None = None
        self.agent = role or AgentId("")
        """Whose work it is."""
        self.cost_us = Micros(0)
        """What of its cost has not been computed."""
        self.attained_us = 0
        self.attempts = 0
        """Phases begun, those that were lost among them."""
        self.near: NodeId | None = None
        self.calls = 0
        """Of the dialogue."""
        self.waited_us = 0
        """At desks, for a grant."""

    def start(self) -> None:
        """Come to the first phase."""
        if self.dialogue is None:
            assert self.agent in self.turn.roles, "a turn has a role, or is a dialogue"
            self._at(self.agent)
            return
        self.calls += 1
        self._go(self.dialogue.start())

    def phase_done(self, now: Instant) -> bool:
        """Come to the next phase; or to the turn's end, which is True."""
        self.index += 1
        if self.dialogue is None:
            self.ended = now
            return True
        outcome: str | Verdict = "simulated"
        if self.phase is Phase.CHECK:
            checks = (self.index - 1) // 2
            outcome = ACCEPTED if checks > self.turn.rejections else REJECTED
        self.calls += 1
        return self._go(self.dialogue.finished(outcome), now)

    def wait(self, now: Instant, means: Means | None) -> Wait:
        """Return what a desk tells of it while it waits; `means` where costs are not known."""
        if means is None:
            cost = int(self.cost_us)
            rest = cost + sum(self.turn.costs_us[self.index + 1 :])
        else:
            cost = means.of(self.agent)
            rest = cost + sum(means.of(agent) for agent in self._to_come())
        return Wait(
            turn=self.turn.turn,
            asked=now,
            arrived=self.arrived,
            deadline=self.deadline,
            attained_us=Micros(self.attained_us),
            cost_us=Micros(cost),
            rest_us=Micros(rest if cost else 0),
            near=self.near,
        )

    def _to_come(self) -> Iterator[AgentId]:
        if self.phase is not None:
            for agent in STILL_TO_COME[self.phase]:
                if agent in self.rules.agents:
                    yield of_tenant(self.turn.tenant, agent)

    def _go(self, step: Run | Reply, now: Instant | None = None) -> bool:
        if isinstance(step, Reply):
            self.ended = now
            return True
        self.phase = step.phase
        self._at(of_tenant(self.turn.tenant, WORKER[step.phase]))
        return False

    def _at(self, agent: AgentId) -> None:
        self.agent = agent
        self.cost_us = self.turn.costs_us[self.index]


def rules_of(*, checked: bool, revisions_max: int) -> Rules:
    """Return the shape of dialogues with or without a checker."""
    agents = (PLANNER, RESPONDER, CHECKER) if checked else (PLANNER, RESPONDER)
    return Rules(agents=agents, revisions_max=revisions_max)
