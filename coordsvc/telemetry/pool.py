"""Metrics of the pool: what the allocator last told of itself."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge

from coordsvc.core.resources import MILLI
from coordsvc.telemetry.labels import Bounded, Told


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """What the allocator tells of itself, regularly."""

    epoch: int
    nodes: int
    draining: int = 0
    """Of them, those that are being emptied."""
    capacity: Mapping[str, int] = field(default_factory=dict)
    """By resource, in thousandths."""
    alloc: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """alloc_i: by (agent, resource), in thousandths; offers outstanding and grants."""
    tenant_alloc: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (tenant, resource), in thousandths: what its agents hold together."""
    demand: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """What agents hold and what their waiting phases lack: by (agent, resource), in thousandths."""
    open_offers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (agent, state)."""
    ended_offers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (agent, state), since this epoch began."""
    filters: Mapping[str, int] = field(default_factory=dict)
    """By agent: nodes that its desks refuse to be offered for now."""
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
    log_lag: int = 0
    """Entries that wait to be written to it."""
    accelerators: int = 0
    """G, in millionths."""
    fleet: Mapping[str, int] = field(default_factory=dict)
    """The five states of all shares, since this epoch began (`core.fleet`)."""
    fleet_remainder: int = 0
    """What the two books of the fleet differ by, at most."""
    engine_running: int = 0
    engine_waiting: int = 0


GAUGES = {
    "epoch": (
        "coordsvc_allocator_epoch",
        "The allocator's epoch: how many lives it has had in this cluster.",
    ),
    "nodes": ("coordsvc_nodes", "Engine replicas in the pool."),
    "draining": (
        "coordsvc_nodes_draining",
        "Engine replicas that are being emptied, and are offered no more.",
    ),
    "refused_events": (
        "coordsvc_allocator_refused_events",
        "Late, repeated or unlawful messages refused in this epoch.",
    ),
    "broken_reservations": (
        "coordsvc_broken_reservations",
        "Valid grants refused for lack of room, by the journals of live engines. Always 0.",
    ),
    "preempted": (
        "coordsvc_preempted",
        "Grants that were ended in this epoch for somebody entitled to their bundle.",
    ),
    "gangs_waiting": (
        "coordsvc_gangs_waiting",
        "Gangs that wait until all their bundles can be held at the same time.",
    ),
    "log_lines": (
        "coordsvc_decision_log_lines",
        "Lines written to the decision log in this epoch.",
    ),
    "log_lost": (
        "coordsvc_decision_log_lost",
        "Events missing from the decision log in this epoch: it lagged, or could not write.",
    ),
    "log_lag": (
        "coordsvc_decision_log_lag",
        "Entries of the decision log that wait to be written.",
    ),
    "engine_running": ("coordsvc_engine_running", "Phases that engines run, by their own word."),
    "engine_waiting": (
        "coordsvc_engine_waiting",
        "Requests that wait inside engines for a place in a batch.",
    ),
}
"""What of the snapshot is shown as it is: field, name, and what it says."""


class PoolMetrics:
    """Shows what the allocator tells; an ended offer is counted once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._plain = {
            field_name: Gauge(name, says, registry=registry)
            for field_name, (name, says) in GAUGES.items()
        }
        self._alloc = Told(
            registry,
            "coordsvc_alloc",
            "alloc_i: what an agent holds of a resource, offers included (gpus, cpus, Gb/s).",
            ["agent", "resource"],
        )
        self._tenant_alloc = Told(
            registry,
            "coordsvc_tenant_alloc",
            "What a tenant's agents hold of a resource, offers included (gpus, cpus, Gb/s).",
            ["tenant", "resource"],
        )
        self._demand = Told(
            registry,
            "coordsvc_demand",
            "What an agent holds and what its waiting phases lack, by resource (gpus, cpus, Gb/s).",
            ["agent", "resource"],
        )
        self._capacity = Told(
            registry,
            "coordsvc_capacity",
            "Capacity of all nodes by resource (gpus, cpus, Gb/s).",
            ["resource"],
        )
        self._open = Told(
            registry,
            "coordsvc_offers_open",
            "Offers that hold resources now, by agent and state.",
            ["agent", "state"],
        )
        self._waiting = Told(
            registry,
            "coordsvc_phases_waiting",
            "Phases that wait for an offer, by agent.",
            ["agent"],
        )
        self._filters = Told(
            registry,
            "coordsvc_filters_active",
            "Nodes that an agent's desks refuse to be offered for now, by agent.",
            ["agent"],
        )
        self._policy = Told(
            registry,
            "coordsvc_policy",
            "1 for the policy by which offers are made, 0 for those that were before.",
            ["policy"],
        )
        self._utility = Told(
            registry,
            "coordsvc_utility",
            "u_i: the utility of what an agent holds, in the unit of its policy's utilities.",
            ["agent"],
        )
        self._share = Told(
            registry,
            "coordsvc_dominant_share",
            "The largest fraction of any one resource of the pool that an agent holds, 0 to 1.",
            ["agent"],
        )
        self._limits = Told(
            registry,
            "coordsvc_limits_met",
            "How often each bound on what the allocator keeps was reached in this epoch.",
            ["limit"],
        )
        self._heard = Gauge(
            "coordsvc_allocator_last_word_seconds",
            "When the allocator last told of itself, in seconds of Unix time.",
            registry=registry,
        )
        self._offers = Counter(
            "coordsvc_offers",
            "Offers that came to an end, by agent and the state they ended in.",
            ["agent", "state"],
            registry=registry,
        )
        self._agent = Bounded()
        self._epoch = 0
        self._told: dict[tuple[int, str, str], int] = {}

    def show(self, snapshot: PoolSnapshot) -> bool:
        """Show what was told; return False for an allocator whose successor has spoken.

        It may still live somewhere, and is not listened to.
        """
        if snapshot.epoch < self._epoch:
            return False
        self._epoch = snapshot.epoch
        self._heard.set(time.time())
        for name, gauge in self._plain.items():
            gauge.set(getattr(snapshot, name))
        self._capacity.show(((name,), n / MILLI) for name, n in snapshot.capacity.items())
        self._alloc.show((labels, n / MILLI) for labels, n in snapshot.alloc.items())
        self._tenant_alloc.show((labels, n / MILLI) for labels, n in snapshot.tenant_alloc.items())
        self._demand.show((labels, n / MILLI) for labels, n in snapshot.demand.items())
        self._open.show(snapshot.open_offers.items())
        self._policy.show([((snapshot.policy,), 1.0)] if snapshot.policy else [])
        by_names: tuple[tuple[Told, Mapping[str, float]], ...] = (
            (self._waiting, snapshot.waiting),
            (self._filters, snapshot.filters),
            (self._utility, snapshot.utility),
            (self._share, snapshot.share),
            (self._limits, snapshot.limits_met),
        )
        for told, by_name in by_names:
            told.show(((name,), amount) for name, amount in by_name.items())
        for (agent, state), count in snapshot.ended_offers.items():
            key = (snapshot.epoch, agent, state)
            more = count - self._told.get(key, 0)
            self._offers.labels(self._agent.of(agent), state).inc(more)
            self._told[key] = count
        self._told = {key: told for key, told in self._told.items() if key[0] == snapshot.epoch}
        return True
