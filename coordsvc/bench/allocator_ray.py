"""What `coordsvc bench allocator` measures on a Ray of its own.

Leases through the production actor: desks (the production machine) in one process exchange with
the allocator in another, each exchange a batch. Engines are links that always answer at once, and
truly: what runs there is what the allocator granted. So the allocator alone is measured, with the
way to it. Beside it: placement groups, created, waited for and removed one after another.
"""

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group

from coordsvc.clock import MonotonicClock
from coordsvc.core.desk import Desk
from coordsvc.core.offers import ACCEPTED, Grant
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    Instant,
    Micros,
    NodeId,
    OfferId,
    after,
)
from coordsvc.serving.actors import CALLS_AT_ONCE
from coordsvc.serving.allocator_actor import AllocatorActor
from coordsvc.serving.pool import NodeCard, Watched

NODES = 64
SLOT = Resources(cpu_milli=1_000)
CAPACITY = Resources(cpu_milli=32_000)
"""More bundles than all desks may hold: an offer is never scarce, so its price alone shows."""
DESKS = 16
WARM_S = 2.0
GROUP_CPUS = 0.01
IDLE_S = 0.001
"""How long a desk rests that has nothing to tell, and nothing in hand."""


@contextmanager
def local_ray() -> Iterator[None]:
    """Have a Ray of our own for a while; it leaves nothing behind."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    folder = tempfile.mkdtemp(prefix="coordsvc-")
    try:
        ray.init(
            address="local",
            num_cpus=max(2, os.cpu_count() or 2),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def placement_group_us(count: int) -> float:
    """Return microseconds a placement group, of `count` one after another."""
    began = perf_counter()
    for _ in range(count):
        group = placement_group([{"CPU": GROUP_CPUS}])
        ray.get(group.ready(), timeout=60)
        remove_placement_group(group)
    return (perf_counter() - began) / count * 1e6


def grants(seconds: float) -> dict[str, object]:
    """Return how many leases a second come to their end through the actor."""
    # as `serving.actors` starts it, but for its name and its rebirth
    options = {"max_concurrency": CALLS_AT_ONCE, "num_cpus": 0, "enable_task_events": False}
    allocator: Any = ray.remote(QuietAllocator).options(**options).remote()
    desks: Any = ray.remote(Desks).options(**options).remote(allocator)
    ray.get(desks.run.remote(WARM_S), timeout=60)
    before, began = _released(allocator), perf_counter()
    told = ray.get(desks.run.remote(seconds), timeout=60 + seconds)
    ended, took_s = _released(allocator) - before, perf_counter() - began
    return {
        "grants_per_second": round(ended / took_s),
        "leases_per_exchange": round(told["finished"] / max(1, told["exchanges"]), 1),
        "desks": DESKS,
        "nodes": NODES,
    }


def _released(allocator: Any) -> int:
    """Return how many leases have ended, in the allocator's own book."""
    ended: dict[str, int] = ray.get(allocator.status.remote(), timeout=60)["offers_ended"]
    return sum(count for name, count in ended.items() if name.endswith(".released"))


class QuietEngine:
    """An engine link that always answers, and as truly as an engine would."""

    def __init__(self, allocator: "QuietAllocator", node: NodeId) -> None:
        self._allocator = allocator
        self._node = node

    async def fence(self, epoch: Epoch, above: OfferId) -> tuple[Grant, ...] | None:
        """Say that nothing runs there yet."""
        del epoch, above
        return ()

    async def void(self, offer_id: OfferId) -> bool:
        """Say that the offer was never started."""
        del offer_id
        return False

    async def preempt(self, offer_id: OfferId) -> None:
        """End nothing: phases here take no time."""

    async def watch(self, epoch: Epoch, wait_s: float) -> Watched:
        """Say what runs, after a while."""
        del epoch
        await asyncio.sleep(wait_s)
        return Watched(running=self._allocator.running_on(self._node))

    async def left(self) -> None:
        """Never leave."""
        await asyncio.Event().wait()


class QuietAllocator(AllocatorActor):
    """The production actor, between quiet engines."""

    async def __init__(self) -> None:  # type: ignore[misc]
        super().__init__(Epoch("bench", 1), Terms(), MonotonicClock(), self._quiet, lambda _: None)
        self.start()
        for number in range(NODES):
            await self.join(NodeCard(node=NodeId(f"n{number}"), capacity=CAPACITY))

    def running_on(self, node: NodeId) -> frozenset[OfferId]:
        """Return what was granted on a node, which is what runs there."""
        offers = self._core.ledger.on_node(node)
        return frozenset(offer.offer_id for offer in offers if offer.state is ACCEPTED)

    def _quiet(self, card: NodeCard) -> QuietEngine:
        return QuietEngine(self, card.node)


class Desks:
    """Production desks in one process, whose phases end at the next exchange."""

    def __init__(self, allocator: Any) -> None:
        self._allocator = allocator
        self._clock = MonotonicClock()
        names = [f"agent-{number:02}" for number in range(DESKS)]
        self._desks = [Desk(DeskId(name), AgentId(name), SLOT) for name in names]
        self._running: dict[DeskId, list[Grant]] = {desk.desk: [] for desk in self._desks}
        self._exchanges = self._finished = 0

    async def run(self, seconds: float) -> dict[str, int]:
        """Take and end leases for a while; return how many, in how many exchanges."""
        self._exchanges = self._finished = 0
        until = after(self._clock.now(), Micros(round(seconds * SECOND)))
        await asyncio.gather(*(self._keep_busy(desk, until) for desk in self._desks))
        return {"exchanges": self._exchanges, "finished": self._finished}

    async def _keep_busy(self, desk: Desk, until: Instant) -> None:
        while (now := self._clock.now()) < until:
            running = self._running[desk.desk]
            for grant in running:
                desk.finished(now, grant)
            self._finished += len(running)
            running.clear()
            while (taken := desk.take(now, SLOT)) is not None:
                desk.arrived(now)
                running.append(taken)
            reply = await self._allocator.exchange.remote(desk.report(now), 0.0)
            self._exchanges += 1
            desk.heard(now, self._clock.now(), reply, waited=False)
            if not desk.held and not running:
                await asyncio.sleep(IDLE_S)
