"""Metrics of turns: the turn's view of where time went."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

from coordsvc.core.accounting import PARTS, Part, PhaseReport, TurnAccount, TurnResult
from coordsvc.core.units import SECOND
from coordsvc.telemetry.labels import Bounded

TURN_BUCKETS_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.225, 0.25, 0.275, 0.3, 0.4, 0.5, 0.75,
    1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0,
)  # fmt: skip
"""Dense around 250 ms, so that a p95 target there can be judged; an edge at each threshold."""
COORD_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75,
    1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""With an edge at 0.5 s, the threshold at which placement groups grow."""
OUTCOMES = ("answered", "gave_up", "refused", "failed", "check_lost")
REFUSALS = (
    "no_key",
    "wrong_key",
    "too_many_wrong_keys",
    "requests_per_minute",
    "turns_at_once",
    "key_file",
)
NOBODY = ""
"""Agent and phase of what the turn itself spent."""


class TurnMetrics:
    """Counts turns by how they ended, and their seconds by where they went."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "coordsvc_turn_seconds",
            "Wall time of a turn at the ingress, in seconds, by the agents that took part.",
            ["mix"],
            buckets=TURN_BUCKETS_S,
            registry=registry,
        )
        self._c_coord = Histogram(
            "coordsvc_c_coord_seconds",
            "C_coord of a turn: wall time minus solo compute on the critical path, in seconds.",
            ["mix"],
            buckets=COORD_BUCKETS_S,
            registry=registry,
        )
        self._parts = Counter(
            "coordsvc_c_coord_part_seconds",
            "C_coord of all turns by part, agent and phase, in seconds; agent and phase are empty "
            "where the turn itself spent it; 'unexplained' may also shrink another's.",
            ["part", "agent", "phase"],
            registry=registry,
        )
        self._solo = Counter(
            "coordsvc_solo_seconds",
            "Solo compute on the critical path of all turns (K), in seconds.",
            registry=registry,
        )
        self._engine = Counter(
            "coordsvc_engine_seconds",
            "Raw engine time of all phases, in seconds, by agent and phase.",
            ["agent", "phase"],
            registry=registry,
        )
        self._turns = Counter(
            "coordsvc_turns", "Turns by how they ended.", ["outcome"], registry=registry
        )
        self._tokens = Counter(
            "coordsvc_tokens",
            "Tokens read (prompt), found cached, and written (output), by agent.",
            ["agent", "kind"],
            registry=registry,
        )
        self._untold = Counter(
            "coordsvc_turns_untold",
            "Turns that replicas could not tell of while the instruments were away.",
            registry=registry,
        )
        self._refused = Counter(
            "coordsvc_requests_refused",
            "Requests that were not let in, by reason: no_key, wrong_key, too_many_wrong_keys, "
            "requests_per_minute, turns_at_once; key_file counts files that could not be read.",
            ["reason"],
            registry=registry,
        )
        self._tenants = Counter(
            "coordsvc_tenant_turns",
            "Turns by the tenant on whose account they were, and how they ended.",
            ["tenant", "outcome"],
            registry=registry,
        )
        self._mix, self._agent, self._tenant = Bounded(), Bounded(), Bounded()
        for reason in REFUSALS:
            self._refused.labels(reason)
        for part in PARTS:
            self._parts.labels(part, NOBODY, NOBODY)
        for outcome in OUTCOMES:
            self._turns.labels(outcome)

    def turn(self, result: TurnResult) -> None:
        """Count one answered turn."""
        account = result.account
        mix = self._mix.of("+".join(sorted({report.agent for report in result.phases})))
        self._seconds.labels(mix).observe(account.wall_us / SECOND)
        self._c_coord.labels(mix).observe(account.c_coord_us / SECOND)
        self._solo.inc(account.solo_us / SECOND)
        self._count_parts(account)
        for report in result.phases:
            self.phase(report)
        outcome = "gave_up" if result.gave_up else "answered"
        self._turns.labels(outcome).inc()
        if result.tenant:
            self._tenants.labels(self._tenant.of(result.tenant), outcome).inc()

    def phase(self, report: PhaseReport) -> None:
        """Count what a phase took of an engine."""
        agent = self._agent.of(report.agent)
        self._engine.labels(agent, report.phase).inc(report.engine_us / SECOND)
        self._tokens.labels(agent, "prompt").inc(report.prompt_tokens)
        self._tokens.labels(agent, "cached").inc(report.cached_tokens)
        self._tokens.labels(agent, "output").inc(report.output_tokens)

    def outcome(self, outcome: str) -> None:
        """Count a turn that was not answered, or lost its check."""
        self._turns.labels(outcome).inc()

    def refused(self, reasons: Mapping[str, int]) -> None:
        """Count requests that were not let in."""
        for reason, count in reasons.items():
            self._refused.labels(reason).inc(count)

    def untold(self, count: int) -> None:
        """Count turns that were answered, but never told of."""
        self._untold.inc(count)

    def _count_parts(self, account: TurnAccount) -> None:
        """Count each part where it was spent: in a phase, or by the turn itself."""
        own: dict[Part, int] = {**account.parts}
        for phase in account.phases:
            agent = self._agent.of(phase.agent)
            for part, spent in phase.parts.items():
                own[part] -= spent
                if spent > 0:
                    self._parts.labels(part, agent, phase.phase).inc(spent / SECOND)
        for part, rest in own.items():
            if rest > 0:
                self._parts.labels(part, NOBODY, NOBODY).inc(rest / SECOND)
