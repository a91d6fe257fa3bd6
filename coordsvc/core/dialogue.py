"""A turn as a state machine: plan, respond, check, revise up to a limit, give up with the best.

The shell runs the phase that a step names and tells its outcome; the answer is the next step.
Which phases may follow which is one table, `MOVES`; the diagram in the docs is drawn from it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from coordsvc.core.generation import Message, Sampling
from coordsvc.core.trace import TraceContext
from coordsvc.core.units import SECOND, AgentId, Micros, NodeId

PLANNER, RESPONDER, CHECKER = AgentId("planner"), AgentId("responder"), AgentId("checker")


class Phase(StrEnum):
    """One agent's work within a turn."""

    PLAN = "plan"
    RESPOND = "respond"
    CHECK = "check"
    REVISE = "revise"


WORKER: dict[Phase, AgentId] = {
    Phase.PLAN: PLANNER,
    Phase.RESPOND: RESPONDER,
    Phase.CHECK: CHECKER,
    Phase.REVISE: RESPONDER,
}
"""Whose work each phase is."""

SPOKEN = frozenset({Phase.RESPOND, Phase.REVISE})
"""The phases whose text may become the reply."""

MOVES: dict[Phase, frozenset[Phase | None]] = {
    Phase.PLAN: frozenset({Phase.RESPOND}),
    Phase.RESPOND: frozenset({Phase.CHECK, None}),
    Phase.CHECK: frozenset({Phase.REVISE, None}),
    Phase.REVISE: frozenset({Phase.CHECK}),
}
"""Every legal move from a finished phase; None is the end of the turn."""


class ReplyMode(StrEnum):
    """When the user sees the reply."""

    STREAM_THEN_CHECK = "stream_then_check"
    """As it is made; the check runs after it and can only annotate."""
    CHECK_THEN_SEND = "check_then_send"
    """Once the checker accepts it, or revisions run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the checker thinks of a draft. `score` runs from 0 (useless) to 10 (flawless)."""

    accept: bool
    score: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """One user message to be answered, with the conversation that leads to it."""

    turn_id: str
    conversation: tuple[Message, ...]
    max_tokens: int
    sampling: Sampling = Sampling()
    mode: ReplyMode = ReplyMode.CHECK_THEN_SEND
    stream: bool = False
    """Whether the user wants the reply's pieces as they are made."""
    deadline_us: Micros = Micros(120 * SECOND)
    """How long the turn may take, counted from its arrival."""
    tenant: str = ""
    """On whose account it is; nothing where there are no tenants."""
    trace: TraceContext | None = None
    """Where its trace begins; None if it is not traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The shape of a turn. Two agents are planner and responder; three add the checker."""

    agents: tuple[AgentId, ...] = (PLANNER, RESPONDER, CHECKER)
    revisions_max: int = 1
    """Revisions before the turn gives up and sends the best draft; each costs two phases."""
    adapted: frozenset[AgentId] = frozenset()
    """Who speaks through an adapter of their own."""

    def adapter(self, agent: AgentId) -> str:
        """Return the name of the agent's adapter: its own; none if the base speaks for it."""
        return agent if agent in self.adapted else ""


@dataclass(frozen=True, slots=True)
class Run:
    """Next: have `agent` work on `phase`. In check and revise, `draft` is what it is about."""

    phase: Phase
    agent: AgentId
    plan: str = ""
    draft: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """Next: this text is the reply. With `then`, that phase still runs, after the reply."""

    text: str
    verdict: Verdict | None
    gave_up: bool = False
    then: Run | None = None


Step = Run | Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseWork:
    """One phase, as an agent is asked to do it."""

    turn_id: str
    run: Run
    conversation: tuple[Message, ...]
    max_tokens: int
    sampling: Sampling
    stream: bool
    left_us: Micros
    """What remains of the turn's deadline."""
    prefix: str = ""
    """What of the reply has been sent already, by a replica that died."""
    warm_tokens: int = 0
    """The longest prefix of the conversation that this turn has left in any node's cache, under
    the same adapter: what another has computed is of no use."""
    near: NodeId | None = None
    """The node whose cache that is: an offer there is taken first, if one is in hand."""
    prefix_key: str = ""
    """Names the conversation under this adapter, among the prefixes that nodes have cached."""
    adapter: str = ""
    """Whose adapter speaks; none lets the base speak."""
    turn_us: Micros = Micros(0)
    """How long ago the turn arrived."""
    attained_us: Micros = Micros(0)
    """Engine time that the turn has had so far."""
    cost_us: Micros = Micros(0)
    """Engine time that the phase is expected to take; 0 where nobody knows yet."""
    rest_us: Micros = Micros(0)
    """Engine time that the turn is still expected to take, this phase included."""
    tenant: str = ""
    """On whose account the turn is."""
    traced: bool = False
    """Whether the report should tell of each offer taken."""


@dataclass(slots=True)
class Dialogue:
    """Where one turn stands."""

    rules: Rules
    mode: ReplyMode
    _plan: str = ""
    _drafts: list[str] = field(default_factory=list)
    _verdicts: list[Verdict] = field(default_factory=list)
    _doing: Phase | None = None

    @property
    def streams(self) -> bool:
        """Whether the reply may be shown as it is made: nothing can overrule it later."""
        return self.mode is ReplyMode.STREAM_THEN_CHECK or CHECKER not in self.rules.agents

    def start(self) -> Step:
        """Return the turn's first step."""
        assert self._doing is None, "a turn starts once"
        return self._run(Phase.PLAN)

    def finished(self, outcome: str | Verdict) -> Step:
        """Take the outcome of the phase at hand (a check's is a verdict); return what is next."""
        match self._doing:
            case Phase.PLAN:
                assert isinstance(outcome, str), "a plan is text"
                self._plan = outcome
                return self._run(Phase.RESPOND)
            case Phase.RESPOND | Phase.REVISE:
                assert isinstance(outcome, str), "a draft is text"
                self._drafts.append(outcome)
                return self._drafted()
            case Phase.CHECK:
                assert isinstance(outcome, Verdict), "a check ends in a verdict"
                self._verdicts.append(outcome)
                return self._judged(outcome)
            case None:
                raise AssertionError("no phase is running")
            case _:
                assert_never(self._doing)

    def _drafted(self) -> Step:
        if CHECKER not in self.rules.agents:
            return self._end()
        if self.mode is ReplyMode.STREAM_THEN_CHECK:
            return Reply(self._drafts[-1], None, then=self._run(Phase.CHECK))
        return self._run(Phase.CHECK)

    def _judged(self, verdict: Verdict) -> Step:
        sent_already = self.mode is ReplyMode.STREAM_THEN_CHECK
        if verdict.accept or sent_already:
            return self._end()
        if len(self._drafts) > self.rules.revisions_max:
            return self._end(gave_up=True)
        return self._run(Phase.REVISE)

    def _run(self, phase: Phase) -> Run:
        assert self._doing is None or phase in MOVES[self._doing], f"{self._doing} -> {phase}"
        self._doing = phase
        return Run(
            phase,
            WORKER[phase],
            plan=self._plan,
            draft=self._drafts[-1] if self._drafts else "",
            verdict=self._verdicts[-1] if self._verdicts else None,
        )

    def _end(self, *, gave_up: bool = False) -> Reply:
        assert self._doing is not None
        assert None in MOVES[self._doing], f"a turn cannot end after {self._doing}"
        self._doing = None
        best = self._best()
        verdict = self._verdicts[best] if best < len(self._verdicts) else None
        return Reply(self._drafts[best], verdict, gave_up=gave_up)

    def _best(self) -> int:
        """Return which draft is best: an accepted one, then the highest score, then the latest."""
        if not self._verdicts:
            return len(self._drafts) - 1
        return max(
            range(len(self._verdicts)),
            key=lambda i: (self._verdicts[i].accept, self._verdicts[i].score, i),
        )
