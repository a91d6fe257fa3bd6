"""The quantities the core counts in. Every one is an integer, so every run is exact."""

from dataclasses import dataclass
from typing import NewType

Micros = NewType("Micros", int)
"""A duration, in microseconds."""

Instant = NewType("Instant", int)
"""A point on whichever clock the caller keeps, in microseconds since its zero."""

AgentId = NewType("AgentId", str)
"""A role of the dialogue: planner, responder, checker; of one tenant: acme/planner."""

RoleId = NewType("RoleId", str)
"""Who shares the pool: an agent, or a tenant that agents belong to."""

GangId = NewType("GangId", str)
"""Bundles that must be held at the same time, or not at all."""

DeskId = NewType("DeskId", str)
"""One replica of an agent's deployment, as the holder of offers."""

NodeId = NewType("NodeId", str)
"""One engine replica: a placement group's worth of accelerator."""

OfferId = NewType("OfferId", int)
"""Unique within one epoch, rising, never used twice."""

TurnId = NewType("TurnId", str)

SECOND = Micros(1_000_000)
MILLISECOND = Micros(1_000)


@dataclass(frozen=True, slots=True, order=True)
class Epoch:
    """One life of the allocator: the `n`-th of cluster run `run`."""

    run: str
    n: int

    def supersedes(self, other: "Epoch") -> bool:
        """Tell whether this is a later life of the same run; lives of two runs do not compare."""
        return self.run == other.run and self.n > other.n


def of_tenant(tenant: str, agent: AgentId) -> AgentId:
    """Return a tenant's own agent; without a tenant, the agent itself."""
    return AgentId(f"{tenant}/{agent}") if tenant else agent


def tenant_and_agent(agent: AgentId) -> tuple[str, AgentId]:
    """Return whose agent it is, if it is a tenant's, and which one."""
    tenant, _, plain = agent.rpartition("/")
    return tenant, AgentId(plain)


def after(start: Instant, wait: Micros) -> Instant:
    """Return the instant `wait` later than `start`."""
    return Instant(start + wait)


def since(start: Instant, now: Instant) -> Micros:
    """Return how long ago `start` was; never negative, should a clock step back."""
    return Micros(max(0, now - start))


def seconds(amount: float) -> Micros:
    """Return `amount` seconds as whole microseconds."""
    return Micros(round(amount * SECOND))
