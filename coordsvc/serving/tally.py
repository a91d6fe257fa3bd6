"""What an allocator counts of its own life, and shows: to Prometheus, and to whoever asks."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from coordsvc.core.allocator import Allocator
from coordsvc.core.fleet import accelerators
from coordsvc.core.fleet_book import FleetBook, look
from coordsvc.core.messages import Effect, Freed, Preempt, Refused
from coordsvc.core.resources import NAMES, Resources
from coordsvc.core.shares import as_fraction, dominant_share
from coordsvc.core.units import (
    SECOND,
    AgentId,
    Instant,
    NodeId,
    RoleId,
    since,
    tenant_and_agent,
)
from coordsvc.ports import Clock
from coordsvc.serving.pool import Watched
from coordsvc.telemetry.decision_log import DecisionLog
from coordsvc.telemetry.pool import PoolSnapshot

LOOKS_COST_MAX = 0.01
"""Of one core, for looking at the pool: on thousands of nodes the looks become rarer."""


class Tally:
    """Counts effects and engines' words, and adds up the fleet's account."""

    def __init__(self, core: Allocator, clock: Clock) -> None:
        self._core = core
        self._clock = clock
        self._ended: Counter[tuple[str, str]] = Counter()
        self._words: dict[NodeId, Watched] = {}
        self._seen_open: set[tuple[str, str]] = set()
        self._refused = 0
        self._preempted = 0
        self._fleet = FleetBook()

    def effect(self, effect: Effect) -> None:
        """Count what was decided."""
        match effect:
            case Freed(offer):
                self._ended[_plain(offer.agent), offer.state.name.lower()] += 1
            case Preempt():
                self._preempted += 1
            case Refused():
                self._refused += 1
            case _:
                pass

    def word(self, now: Instant, node: NodeId, word: Watched) -> None:
        """Take an engine's regular word."""
        self._words[node] = word
        if word.computed is not None:
            self._fleet.told(now, node, word.computed)

    def node_gone(self, node: NodeId) -> None:
        """Forget an engine that will not tell again."""
        self._words.pop(node, None)
        self._fleet.lost(node)

    def look(self, now: Instant) -> float:
        """Look at the pool for the fleet's account; return after how many seconds to look again."""
        began = self._clock.now()
        self._fleet.looked(now, look(self._core.ledger, self._core.desks.values()))
        return since(began, self._clock.now()) / SECOND / LOOKS_COST_MAX

    def status(self) -> dict[str, Any]:
        """Return the counts for people and tests."""
        return {
            "offers_ended": {f"{agent}.{state}": n for (agent, state), n in self._ended.items()},
            "refused_events": self._refused,
            "preempted": self._preempted,
            "broken_reservations": self._broken(),
        }

    def snapshot(self, decisions: DecisionLog | None) -> PoolSnapshot:
        """Return all that is shown."""
        core, ledger = self._core, self._core.ledger
        told = sorted({state.agent for state in core.desks.values()})
        tenants = {tenant for tenant, _ in map(tenant_and_agent, told) if tenant}
        open_offers = Counter(
            (_plain(offer.agent), offer.state.name.lower()) for offer in ledger.offers.values()
        )
        self._seen_open.update(open_offers)
        waiting: defaultdict[str, int] = defaultdict(int)
        filters: defaultdict[str, int] = defaultdict(int)
        demand: defaultdict[str, Resources] = defaultdict(Resources)
        for state in core.desks.values():
            agent = _plain(state.agent)
            waiting[agent] += state.waiting
            filters[agent] += len(state.refused_until)
            demand[agent] += state.bundle.times(state.unmet)
        held: defaultdict[str, Resources] = defaultdict(Resources)
        for one in told:
            held[_plain(one)] += ledger.held_by(one)
        utility: defaultdict[str, float] = defaultdict(float)
        for one, u in core.utilities().items():
            utility[_plain(one)] += u
        return PoolSnapshot(
            epoch=core.epoch.n,
            nodes=len(ledger.capacity),
            draining=len(core.books.recall.draining),
            capacity=dict(zip(NAMES, ledger.total.amounts(), strict=True)),
            alloc=_by_resource(held),
            tenant_alloc=_by_resource(
                {tenant: ledger.roles.get(RoleId(tenant)).held for tenant in sorted(tenants)}
            ),
            demand=_by_resource({agent: demand[agent] + held[agent] for agent in held}),
            open_offers={**dict.fromkeys(self._seen_open, 0), **open_offers},
            ended_offers=dict(self._ended),
            filters=dict(filters),
            refused_events=self._refused,
            broken_reservations=self._broken(),
            waiting=dict(waiting),
            policy=core.terms.policy.name,
            utility=dict(utility),
            share={
                agent: as_fraction(dominant_share(one, ledger.total)) for agent, one in held.items()
            },
            preempted=self._preempted,
            gangs_waiting=len(core.books.gangs.waiting),
            limits_met=dict(core.limits_met),
            log_lines=decisions.lines_written if decisions else 0,
            log_lost=decisions.events_lost if decisions else 0,
            log_lag=decisions.lag if decisions else 0,
            accelerators=sum(accelerators(one) for one in ledger.capacity.values()),
            fleet=self._fleet.states.as_dict(),
            fleet_remainder=self._fleet.remainder,
            engine_running=sum(len(word.running) for word in self._words.values()),
            engine_waiting=sum(word.waiting for word in self._words.values()),
        )

    def _broken(self) -> int:
        return sum(word.broken_reservations for word in self._words.values())


def _plain(agent: AgentId) -> str:
    """Return the agent, whosever it is: a series for each tenant's would be far too many."""
    return tenant_and_agent(agent)[1]


def _by_resource(amounts: Mapping[str, Resources]) -> dict[tuple[str, str], int]:
    return {
        (agent, name): amount
        for agent, one in amounts.items()
        for name, amount in zip(NAMES, one.amounts(), strict=True)
    }
