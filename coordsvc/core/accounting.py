"""The turn's account: where every second between question and reply went (docs/concepts.md).

W = wall time at the ingress. K = solo compute on the critical path. C_coord = W - K, in parts.
The path is walked backwards from the reply through last-arriving predecessors, so work beside the
path (parallel, hedged, after the reply) never counts. Every term is a duration taken on one
machine; instants of two machines are never subtracted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from coordsvc.core.dialogue import Phase, Verdict
from coordsvc.core.units import AgentId, Instant, Micros, NodeId, OfferId

Part = Literal[
    "offer_wait",
    "engine_queue",
    "contention",
    "refill",
    "call",
    "agent",
    "bus",
    "store",
    "retry",
    "ingress",
    "unexplained",
]
NO_TIME = Micros(0)
PARTS: tuple[Part, ...] = get_args(Part)
CAPACITY_PARTS: tuple[Part, ...] = ("offer_wait", "engine_queue", "contention")
"""Of C_coord: what more engines cure."""
PART_MEANS: Mapping[Part, str] = {
    "offer_wait": "no offer at hand: the phase waited for the allocator",
    "engine_queue": "waiting inside the engine",
    "contention": "engine time above solo: others are computed with it, or the machine is busy",
    "refill": "prefix recomputed because this node did not have it cached",
    "call": "caller saw minus callee reports: transport, serialisation, scheduling of the call",
    "agent": "the agent's own work: building the prompt, parsing the answer",
    "bus": "messages between agents",
    "store": "belief reads and writes",
    "retry": "lost attempts on the path",
    "ingress": "admission, validation, serialising",
    "unexplained": "the remainder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferTaken:
    """An offer that a phase took, and when; counted from the phase's arrival at its agent."""

    node: NodeId
    epoch: int
    offer_id: OfferId
    use: int
    wait_us: Micros
    """How long the phase had waited for it."""
    taken_us: Micros
    ended_us: Micros
    lost: str = ""
    """Why nothing came of it: `node_gone`, or the engine's refusal. Empty if something did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReport:
    """What an agent tells of one phase it ran; durations on the agent's and engine's clocks."""

    phase: Phase
    agent: AgentId
    node: NodeId | None
    agent_us: Micros
    """In the agent, from the call's arrival to its last word."""
    offer_wait_us: Micros = Micros(0)
    engine_call_us: Micros = Micros(0)
    """The successful engine call, as the agent saw it."""
    retry_us: Micros = Micros(0)
    """Engine calls that were lost, and the waits between them."""
    attempts: int = 1
    queue_us: Micros = Micros(0)
    compute_us: Micros = Micros(0)
    solo_us: Micros = Micros(0)
    refill_us: Micros = Micros(0)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    shared_tokens: int = 0
    output_tokens: int = 0
    emulated: bool = False
    adapter: str = ""
    """Under whose adapter its tokens were computed; none: the base."""
    offers: tuple[OfferTaken, ...] = ()
    """Each offer taken, in order; told of traced turns only, so that others do not pay for it."""

    @property
    def engine_us(self) -> Micros:
        """The engine's own total, as it reports it."""
        return Micros(self.queue_us + self.compute_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSpan:
    """One phase as the ingress saw it, on the ingress's clock."""

    report: PhaseReport
    started: Instant
    ended: Instant
    retry_us: Micros = Micros(0)
    """Calls to agents that died before the one that answered; included in the span."""
    predecessors: tuple[int, ...] = ()
    """Indexes of the spans whose outcome this one needed."""
    finish: Literal["stop", "length"] = "stop"

    @property
    def wall_us(self) -> Micros:
        """How long the ingress waited for it."""
        return Micros(self.ended - self.started)


@dataclass(frozen=True, slots=True)
class PhaseParts:
    """What one phase on the path spent beside solo compute."""

    agent: AgentId
    phase: Phase
    parts: Mapping[Part, Micros]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAccount:
    """One turn's time, whole: `wall_us` = `solo_us` + the sum of `parts`."""

    wall_us: Micros
    solo_us: Micros
    engine_us: Micros
    """Raw engine time on the path, exported beside K."""
    parts: Mapping[Part, Micros]
    phases: tuple[PhaseParts, ...] = ()
    """Of `parts`, what each phase on the path spent; the rest is the turn's own."""
    post_reply_us: Micros = Micros(0)
    """A check that ran after the reply; outside W."""
    client_wait_us: Micros = Micros(0)
    """Waiting for a slow reader; outside W."""
    off_path_us: Micros = Micros(0)
    """Phases before the reply that it did not wait for: reported, never summed."""
    emulated: bool = False

    @property
    def c_coord_us(self) -> Micros:
        """The seconds of the turn that are not model compute."""
        return Micros(self.wall_us - self.solo_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """How a turn ended."""

    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    """Of all phases: what the engines read."""
    output_tokens: int
    """Of all phases: what the engines wrote."""
    reply_tokens: int
    verdict: Verdict | None
    gave_up: bool
    account: TurnAccount
    tenant: str = ""
    """On whose account it was."""
    phases: tuple[PhaseReport, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply, on its way to the user."""

    text: str


@dataclass(frozen=True, slots=True)
class PhaseDone:
    """How one phase ended, as its agent tells it."""

    text: str
    """All of it, what earlier replicas had sent included."""
    finish: Literal["stop", "length"]
    verdict: Verdict | None
    report: PhaseReport


TurnEvent = Delta | TurnResult
PhaseEvent = Delta | PhaseDone


def critical_path(spans: tuple[PhaseSpan, ...], last: int) -> tuple[int, ...]:
    """Return the indexes on the path to span `last`, first to last."""
    path = [last]
    while before := spans[path[-1]].predecessors:
        path.append(max(before, key=lambda i: (spans[i].ended, i)))
    return tuple(reversed(path))


def close(
    spans: tuple[PhaseSpan, ...],
    *,
    wall_us: Micros,
    ingress_us: Micros,
    reply: int,
    client_wait_us: Micros = NO_TIME,
) -> TurnAccount:
    """Return the account of a turn whose reply came out of span `reply`.

    Spans that start after it ended are `post_reply`; the others off the path are reported beside.
    """
    path = critical_path(spans, reply)
    on_path = [spans[i] for i in path]
    solo = sum(span.report.solo_us for span in on_path)
    parts: dict[Part, int] = dict.fromkeys(PARTS, 0)
    phases = tuple(
        PhaseParts(span.report.agent, span.report.phase, dict(phase_parts(span)))
        for span in on_path
    )
    for phase in phases:
        for part, spent in phase.parts.items():
            parts[part] += spent
    parts["ingress"] += ingress_us
    parts["unexplained"] = wall_us - solo - sum(parts.values())
    beside = [span for i, span in enumerate(spans) if i not in path]
    later = [span for span in beside if span.started >= spans[reply].ended]
    return TurnAccount(
        wall_us=wall_us,
        solo_us=Micros(solo),
        engine_us=Micros(sum(span.report.engine_us for span in on_path)),
        parts={part: Micros(spent) for part, spent in parts.items()},
        phases=phases,
        post_reply_us=Micros(sum(span.wall_us for span in later)),
        off_path_us=Micros(sum(span.wall_us for span in beside) - sum(s.wall_us for s in later)),
        client_wait_us=client_wait_us,
        emulated=any(span.report.emulated for span in spans),
    )


def phase_parts(span: PhaseSpan) -> Iterable[tuple[Part, Micros]]:
    """Yield what one phase spent beside solo compute; with `solo_us` it sums to its wall time."""
    report = span.report
    agent_call = span.wall_us - span.retry_us - report.agent_us
    engine_call = report.engine_call_us - report.engine_us
    own_work = report.agent_us - report.offer_wait_us - report.retry_us - report.engine_call_us
    yield "offer_wait", report.offer_wait_us
    yield "engine_queue", report.queue_us
    yield "contention", Micros(report.compute_us - report.solo_us - report.refill_us)
    yield "refill", report.refill_us
    yield "call", Micros(agent_call + engine_call)
    yield "agent", Micros(own_work)
    yield "retry", Micros(span.retry_us + report.retry_us)
