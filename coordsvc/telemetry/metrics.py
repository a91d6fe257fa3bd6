"""The metrics that the instrumentation actor exports, each with its unit and help text.

Base units are seconds and whole resources. Labels are bounded: agents, phases, parts, states and
resources, never a turn's or a request's id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from coordsvc.core.accounting import PARTS, TurnResult
from coordsvc.core.resources import MILLI
from coordsvc.core.units import SECOND

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """What the allocator tells of itself, regularly."""

    epoch: int
    nodes: int
    capacity: Mapping[str, int] = field(default_factory=dict)
    """By resource, in thousandths."""
    alloc: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """alloc_i: by (agent, resource), in thousandths; offers outstanding and grants."""
    open_offers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (agent, state)."""
    ended_offers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (agent, state), since this epoch began."""
    refused_events: int = 0
    broken_reservations: int = 0
    waiting: Mapping[str, int] = field(default_factory=dict)
    """By agent: phases that wait for an offer."""
    policy: str = ""
    """Who is served first."""
    utility: Mapping[str, float] = field(default_factory=dict)
    """u_i by agent, of what it holds; empty where the policy knows of none."""
    share: Mapping[str, float] = field(default_factory=dict)
    """Dominant share by agent, of the whole pool."""
    preempted: int = 0
    gangs_waiting: int = 0
    limits_met: Mapping[str, int] = field(default_factory=dict)
    """How often each bound of the terms was reached in this epoch."""
    log_lines: int = 0
    """Lines of the decision log written in this epoch."""
    log_lost: int = 0
    """Events that it could not keep up with, or write."""


class Metrics:
    """All metrics of one application, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._define_turns()
        self._define_pool()
        self._epoch = 0
        self._told: dict[tuple[int, str, str], int] = {}
        self._shown: dict[Gauge, tuple[tuple[str, ...], ...]] = {}
        """The labels that each gauge has had."""

    def _define_turns(self) -> None:
        self.turn_seconds = Histogram(
            "coordsvc_turn_seconds",
            "Wall time of a turn at the ingress, in seconds, by number of agents.",
            ["agents"],
            buckets=TURN_BUCKETS_S,
            registry=self.registry,
        )
        self.c_coord_seconds = Histogram(
            "coordsvc_c_coord_seconds",
            "C_coord of a turn: wall time minus solo compute on the critical path, in seconds.",
            ["agents"],
            buckets=COORD_BUCKETS_S,
            registry=self.registry,
        )
        self.part_seconds = Counter(
            "coordsvc_c_coord_part_seconds",
            "C_coord of all turns by part, in seconds; 'unexplained' may also shrink another's.",
            ["part"],
            registry=self.registry,
        )
        self.solo_seconds = Counter(
            "coordsvc_solo_seconds",
            "Solo compute on the critical path of all turns (K), in seconds.",
            registry=self.registry,
        )
        self.engine_seconds = Counter(
            "coordsvc_engine_seconds",
            "Raw engine time of all phases, in seconds, by agent and phase.",
            ["agent", "phase"],
            registry=self.registry,
        )
        self.turns = Counter(
            "coordsvc_turns",
            "Turns by how they ended.",
            ["outcome"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "coordsvc_tokens",
            "Tokens read (prompt), found cached, and written (output), by agent.",
            ["agent", "kind"],
            registry=self.registry,
        )
        for part in PARTS:
            self.part_seconds.labels(part)
        for outcome in ("answered", "gave_up", "refused", "failed", "check_lost"):
            self.turns.labels(outcome)

    def _define_pool(self) -> None:
        self.alloc = Gauge(
            "coordsvc_alloc",
            "alloc_i: what an agent holds of a resource, offers included (gpus, cpus, Gb/s).",
            ["agent", "resource"],
            registry=self.registry,
        )
        self.capacity = Gauge(
            "coordsvc_capacity",
            "Capacity of all nodes by resource (gpus, cpus, Gb/s).",
            ["resource"],
            registry=self.registry,
        )
        self.offers_open = Gauge(
            "coordsvc_offers_open",
            "Offers that hold resources now, by agent and state.",
            ["agent", "state"],
            registry=self.registry,
        )
        self.offers_ended = Counter(
            "coordsvc_offers",
            "Offers that came to an end, by agent and the state they ended in.",
            ["agent", "state"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "coordsvc_phases_waiting",
            "Phases that wait for an offer, by agent.",
            ["agent"],
            registry=self.registry,
        )
        self.policy = Gauge(
            "coordsvc_policy",
            "1 for the policy by which offers are made, 0 for those that were before.",
            ["policy"],
            registry=self.registry,
        )
        self.utility = Gauge(
            "coordsvc_utility",
            "u_i: the utility of what an agent holds, in the unit of its policy's utilities.",
            ["agent"],
            registry=self.registry,
        )
        self.share = Gauge(
            "coordsvc_dominant_share",
            "The largest fraction of any one resource of the pool that an agent holds, 0 to 1.",
            ["agent"],
            registry=self.registry,
        )
        self.preempted = Gauge(
            "coordsvc_preempted",
            "Grants that were ended in this epoch for somebody entitled to their bundle.",
            registry=self.registry,
        )
        self.gangs_waiting = Gauge(
            "coordsvc_gangs_waiting",
            "Gangs that wait until all their bundles can be held at the same time.",
            registry=self.registry,
        )
        self.limits_met = Gauge(
            "coordsvc_limits_met",
            "How often each bound on what the allocator keeps was reached in this epoch.",
            ["limit"],
            registry=self.registry,
        )
        self.log_lines = Gauge(
            "coordsvc_decision_log_lines",
            "Lines written to the decision log in this epoch.",
            registry=self.registry,
        )
        self.log_lost = Gauge(
            "coordsvc_decision_log_lost",
            "Events missing from the decision log in this epoch: it lagged, or could not write.",
            registry=self.registry,
        )
        self.epoch = Gauge(
            "coordsvc_allocator_epoch",
            "The allocator's epoch: how many lives it has had in this cluster.",
            registry=self.registry,
        )
        self.nodes = Gauge("coordsvc_nodes", "Engine replicas in the pool.", registry=self.registry)
        self.refused_events = Gauge(
            "coordsvc_allocator_refused_events",
            "Late, repeated or unlawful messages refused in this epoch.",
            registry=self.registry,
        )
        self.broken_reservations = Gauge(
            "coordsvc_broken_reservations",
            "Valid grants refused for lack of room, by the journals of live engines. Always 0.",
            registry=self.registry,
        )

    def turn(self, result: TurnResult) -> None:
        """Count one answered turn."""
        account = result.account
        agents = str(len({report.agent for report in result.phases}))
        self.turn_seconds.labels(agents).observe(account.wall_us / SECOND)
        self.c_coord_seconds.labels(agents).observe(account.c_coord_us / SECOND)
        self.solo_seconds.inc(account.solo_us / SECOND)
        for part, spent in account.parts.items():
            self.part_seconds.labels(part).inc(max(0, spent) / SECOND)
        for report in result.phases:
            self.engine_seconds.labels(report.agent, report.phase).inc(report.engine_us / SECOND)
            self.tokens.labels(report.agent, "prompt").inc(report.prompt_tokens)
            self.tokens.labels(report.agent, "cached").inc(report.cached_tokens)
            self.tokens.labels(report.agent, "output").inc(report.output_tokens)
        self.turns.labels("gave_up" if result.gave_up else "answered").inc()

    def outcome(self, outcome: str) -> None:
        """Count a turn that was not answered, or lost its check."""
        self.turns.labels(outcome).inc()

    def pool(self, snapshot: PoolSnapshot) -> None:
        """Show what the allocator last told; an ended offer is counted once.

        An allocator whose successor has spoken is not listened to, should it still live somewhere.
        """
        if snapshot.epoch < self._epoch:
            return
        self._epoch = snapshot.epoch
        self.epoch.set(snapshot.epoch)
        self.nodes.set(snapshot.nodes)
        self.refused_events.set(snapshot.refused_events)
        self.broken_reservations.set(snapshot.broken_reservations)
        self._show(self.capacity, (((name,), n / MILLI) for name, n in snapshot.capacity.items()))
        self._show(self.alloc, ((labels, n / MILLI) for labels, n in snapshot.alloc.items()))
        self._show(self.offers_open, snapshot.open_offers.items())
        self._show(self.waiting, (((agent,), n) for agent, n in snapshot.waiting.items()))
        self.preempted.set(snapshot.preempted)
        self.gangs_waiting.set(snapshot.gangs_waiting)
        self.log_lines.set(snapshot.log_lines)
        self.log_lost.set(snapshot.log_lost)
        self._show(self.policy, [((snapshot.policy,), 1.0)] if snapshot.policy else [])
        self._show(self.utility, (((agent,), u) for agent, u in snapshot.utility.items()))
        self._show(self.share, (((agent,), part) for agent, part in snapshot.share.items()))
        self._show(self.limits_met, (((limit,), n) for limit, n in snapshot.limits_met.items()))
        for (agent, state), count in snapshot.ended_offers.items():
            key = (snapshot.epoch, agent, state)
            self.offers_ended.labels(agent, state).inc(count - self._told.get(key, 0))
            self._told[key] = count
        self._told = {key: told for key, told in self._told.items() if key[0] == snapshot.epoch}

    def _show(self, gauge: Gauge, told: Iterable[tuple[tuple[str, ...], float]]) -> None:
        """Set the gauge for these labels, and to 0 for those that it had before."""
        amounts = {**dict.fromkeys(self._shown.get(gauge, ()), 0.0), **dict(told)}
        self._shown[gauge] = tuple(amounts)
        for labels, amount in amounts.items():
            gauge.labels(*labels).set(amount)
