"""A pool in steady state, for `coordsvc bench allocator`: leases end, and new phases come.

It drives whatever takes the core's events, so that two allocators do the same work: each desk
belongs to a cohort (which nodes it can use), and whenever a lease of a cohort ends, phases come to
desks of it until the cohort wants its share of the pool again. The third cohort wants a little
more than its few nodes have, so there are always some phases that wait. Which lease ends is drawn
with the same odds for each cohort whatever the size of the pool: the mix of events is the same at
100 nodes and at 50,000, and what differs between them is the size alone.
"""

from array import array
from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter_ns
from typing import Protocol

import numpy as np

from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.messages import (
    Accepted,
    DeskJoined,
    Effect,
    Event,
    Finished,
    Freed,
    Granted,
    NodeJoined,
    SendOffer,
    Wanted,
)
from coordsvc.core.resources import Resources
from coordsvc.core.units import (
    MILLISECOND,
    SECOND,
    AgentId,
    DeskId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    TurnId,
    after,
)
from coordsvc.core.waits import PhaseWait

GPU_NODE = Resources(gpu_milli=1_000, cpu_milli=8_000, bandwidth_mbps=10_000)
CAPACITIES = tuple(sum([GPU_NODE] * count, start=Resources()) for count in (1, 2, 4))
"""Engines on one, two and four GPUs."""
BUNDLES = (
    Resources(gpu_milli=250, cpu_milli=1_000, bandwidth_mbps=500),
    Resources(gpu_milli=500, cpu_milli=2_000, bandwidth_mbps=1_000),
    Resources(gpu_milli=500, cpu_milli=4_000, bandwidth_mbps=500),
    Resources(gpu_milli=500, cpu_milli=3_000, bandwidth_mbps=4_000),
)
EDGE_NODE = Resources(cpu_milli=8_000, bandwidth_mbps=10_000)
EDGE_BUNDLE = Resources(cpu_milli=4_000, bandwidth_mbps=1_000)
TENANTS = 16
EDGE_NODES = 20
"""Nodes without a GPU, in a pool of any size: so as many phases wait there in each."""
LOAD = 0.9
EDGE_WANTED = 1.25
"""What the third cohort wants of its nodes' capacity."""
BETWEEN_US = Micros(250)
"""From the end of one lease to the next: 4,000 a second."""
PHASE_US = Micros(300 * MILLISECOND)
WAITS_TOLD_MAX = 64
LARGE, EDGE = NodeFilter.requiring({"model": "large"}), NodeFilter.requiring({"zone": "edge"})
ODDS = {ANY_NODE: 0.6, LARGE: 0.2, EDGE: 0.2}
"""Of a desk to ask for these nodes, and of the next lease that ends to be one on them."""
LARGE_WANTED = 0.3
"""What the second cohort wants of its nodes' capacity; the first one uses them as well."""


class Handler(Protocol):
    """Whatever takes the core's events."""

    def handle(self, now: Instant, event: Event) -> list[Effect]:
        """Apply one event; return what is to be done."""
        ...


@dataclass(slots=True)
class Asker:
    """One desk, and its phases that wait, longest first, with when they asked."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    where: NodeFilter
    waits: dict[TurnId, Instant] = field(default_factory=dict)

    @property
    def milli(self) -> int:
        """How much of what is scarce a phase takes."""
        return self.bundle.gpu_milli or self.bundle.cpu_milli

    def wanted(self, now: Instant) -> Wanted:
        """Return what it tells the allocator."""
        told = (
            PhaseWait(
                turn=turn,
                waited_us=Micros(now - asked),
                turn_us=Micros(now - asked + 100 * MILLISECOND),
                left_us=Micros(30 * SECOND),
            )
            for turn, asked in islice(self.waits.items(), WAITS_TOLD_MAX)
        )
        return Wanted(self.desk, len(self.waits), 0, tuple(told))

    def start(self, turn: TurnId | None) -> None:
        """Start a phase: the one that the offer is meant for, or that has waited longest."""
        del self.waits[turn or next(iter(self.waits))]


@dataclass(slots=True)
class Cohort:
    """Desks that can use the same nodes."""

    odds: float
    """That the next lease to end is one of theirs."""
    wanted_milli: int
    askers: list[Asker]
    milli: int = 0
    """What they hold and wait for now; of GPUs, at the edge of CPUs."""
    running: list[tuple[OfferId, Asker]] = field(default_factory=list)


@dataclass(slots=True)
class Pool:
    """The nodes and desks, their clock, and what comes next."""

    nodes: list[NodeJoined]
    cohorts: list[Cohort]
    chance: np.random.Generator
    handler: Handler
    now: Instant = Instant(0)
    turns: int = 0
    took_ns: "defaultdict[str, array[int]]" = field(
        default_factory=lambda: defaultdict(lambda: array("q"))
    )
    """What the handler needed for each event, by the event's name."""
    _by_desk: dict[DeskId, tuple[Cohort, Asker]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for cohort in self.cohorts:
            for asker in cohort.askers:
                self._by_desk[asker.desk] = cohort, asker

    def join(self) -> None:
        """Have all nodes and desks join."""
        for node in self.nodes:
            self._apply(node)
        for _, asker in self._by_desk.values():
            self._apply(DeskJoined(asker.desk, asker.agent, asker.bundle, where=asker.where))

    def fill(self) -> None:
        """Let phases come until each cohort holds, or waits for, its share: the choosiest first."""
        for cohort in reversed(self.cohorts):
            self._come(cohort)

    def run(self, leases: int) -> None:
        """Let so many leases end, each followed by new phases."""
        odds = [cohort.odds for cohort in self.cohorts]
        for which in self.chance.choice(len(odds), size=leases, p=odds):
            self.now = after(self.now, BETWEEN_US)
            cohort = self.cohorts[which]
            self._end_one(cohort)
            self._come(cohort)

    def waiting(self) -> int:
        """Return how many phases wait now."""
        return sum(len(asker.waits) for _, asker in self._by_desk.values())

    def _end_one(self, cohort: Cohort) -> None:
        index = int(self.chance.integers(len(cohort.running)))
        cohort.running[index], cohort.running[-1] = cohort.running[-1], cohort.running[index]
        offer_id, asker = cohort.running.pop()
        cohort.milli -= asker.milli
        self._tell(Finished(offer_id, compute_us=PHASE_US))

    def _come(self, cohort: Cohort) -> None:
        while cohort.milli < cohort.wanted_milli:
            asker = cohort.askers[int(self.chance.integers(len(cohort.askers)))]
            cohort.milli += asker.milli
            self.turns += 1
            asker.waits[TurnId(f"turn-{self.turns}")] = self.now
            self._tell(asker.wanted(self.now))

    def _tell(self, event: Event) -> None:
        """Tell the allocator, and start a phase under each offer that it makes."""
        events: deque[Event] = deque([event])
        while events:
            for effect in self._apply(events.popleft()):
                match effect:
                    case SendOffer(offer, ticket):
                        cohort, asker = self._by_desk[offer.desk]
                        asker.start(ticket.meant_for)
                        cohort.running.append((offer.offer_id, asker))
                        events.append(Accepted(offer.offer_id, offer.bundle))
                    case Granted() | Freed():
                        pass
                    case other:
                        raise AssertionError(f"nothing goes wrong in this pool, but {other}")

    def _apply(self, event: Event) -> list[Effect]:
        began = perf_counter_ns()
        effects = self.handler.handle(self.now, event)
        self.took_ns[type(event).__name__].append(perf_counter_ns() - began)
        return effects


def pool(nodes: int, desks: int, handler: Handler, seed: int = 1) -> Pool:
    """Return a pool of so many nodes and desks in which nothing has happened yet."""
    chance = np.random.default_rng(seed)
    edge = min(EDGE_NODES, nodes // 5)
    cards = [_node(number, edge) for number in range(nodes)]
    large_milli = sum(_gpu_milli(card) for card in cards if card.attributes["model"] == "large")
    wanted = {
        LARGE: round(LARGE_WANTED * large_milli),
        EDGE: round(EDGE_WANTED * edge * EDGE_NODE.cpu_milli),
    }
    wanted[ANY_NODE] = round(LOAD * sum(map(_gpu_milli, cards))) - wanted[LARGE]
    cohorts = {where: Cohort(odds, wanted[where], []) for where, odds in ODDS.items()}
    for number in range(desks):
        where = list(ODDS)[int(chance.choice(len(ODDS), p=list(ODDS.values())))]
        agent = AgentId(f"tenant-{number % TENANTS:02}/agent-{number:04}")
        bundle = EDGE_BUNDLE if where is EDGE else BUNDLES[int(chance.integers(len(BUNDLES)))]
        cohorts[where].askers.append(Asker(DeskId(f"desk-{number:04}"), agent, bundle, where))
    return Pool(cards, list(cohorts.values()), chance, handler)


def _node(number: int, edge: int) -> NodeJoined:
    """Return a node; every third has the large model, and the first few are at the edge."""
    attributes = {
        "model": "small" if number % 3 else "large",
        "zone": "edge" if number < edge else "core",
        "host": f"host-{number}",
    }
    capacity = EDGE_NODE if number < edge else CAPACITIES[number // 3 % len(CAPACITIES)]
    return NodeJoined(NodeId(f"node-{number:05}"), capacity, attributes)


def _gpu_milli(card: NodeJoined) -> int:
    return card.capacity.gpu_milli
