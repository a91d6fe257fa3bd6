"""Who is offered the next free bundle. One small file a policy.

The allocator keeps those who want something in a tree: desks under their agent, agents under
their tenant, tenants under the root. A policy says, in three small functions, in which order
things stand at each level; the smallest key is served first, and the allocator sees to the rest
(who waits before who only holds ahead, guarantees, limits, filters, room):

* `urgency`: among the phases that wait at one desk;
* `desk_key`: among the desks of one agent;
* `role_key`: among sibling roles (agents of a tenant, tenants of the root).

A policy that looks at phases only (first come, oldest dialogue) lets `role_key` return the best
key below, so that the most urgent phase anywhere comes first. One that shares among roles (DRF)
returns a role's share. `None` closes a role: it may hold no more now.

Keys are compared with each other, so at one level all have the same shape. They must not depend on
the time; a policy whose order changes as time passes says so by `refresh`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Instant, Micros, RoleId
from coordsvc.core.waits import Wait

Key = tuple[Any, ...]
"""Compared with others of the same level; smaller is served first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A desk that wants one more offer, as a policy sees it."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    """What the next offer would be."""
    issued: int
    """Offers that this desk holds and has not started."""
    head: Wait | None
    """The most urgent phase that the offer would be for; None when it would be held ahead, or
    when the desk has told only how many wait."""


@dataclass(slots=True, kw_only=True)
class RoleView:
    """A tenant or an agent, as a policy sees it. Read, never written, by policies."""

    role_id: RoleId
    depth: int
    """1 for a child of the root."""
    weight: int
    held: Resources = Resources()
    """What it holds with all below it, outstanding offers included."""
    bundles: int = 0
    """How many offers and grants that is."""
    served: int = 0
    """The number of the last offer made to it or below it; 0 before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A grant that came to its end, as a policy that learns is told of it."""

    agent: AgentId
    bundle: Resources
    began: Instant
    ended: Instant
    compute_us: Micros
    """Engine time of the phase; 0 where nobody said."""
    late: bool
    """Whether its turn had passed its deadline."""
    phase: str = ""
    """What the agent did under it; empty where nobody said."""


class Policy(Protocol):
    """The order in which claims are served. Deterministic: the same history, the same order."""

    def urgency(self, wait: Wait) -> Key:
        """Return the place of a phase among those that wait at one desk."""
        ...

    def desk_key(self, claim: Claim) -> Key:
        """Return the place of a desk among those of its agent."""
        ...

    def role_key(
        self, role: RoleView, best: Key, bundle: Resources, capacity: Resources
    ) -> Key | None:
        """Return the place of a role among its siblings; None closes it for this `bundle`.

        `best` is the smallest key below it; `capacity` is the whole pool's.
        """
        ...

    def arrived(self, now: Instant, agent: AgentId, wait: Wait, capacity: Resources) -> None:
        """Take note of a phase that a desk has told of for the first time."""
        ...

    def ended(self, now: Instant, end: Ended) -> None:
        """Take note of a grant's end."""
        ...

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Return whether keys have changed since the last time; asked once every tick.

        `held`: how many bundles each agent holds now.
        """
        ...


class Ordering:
    """What most policies share: the longest waiting phase first, and nothing to remember."""

    def urgency(self, wait: Wait) -> Key:
        """Return when the phase asked, and its turn's name where equal."""
        return (wait.asked, wait.turn)

    def desk_key(self, claim: Claim) -> Key:
        """Put a desk in the place of its most urgent phase; one that told of none comes last."""
        if claim.head is None:
            return (1, claim.issued)
        return (0, *self.urgency(claim.head))

    def role_key(
        self, role: RoleView, best: Key, bundle: Resources, capacity: Resources
    ) -> Key | None:
        """Put a role in the place of the best below it."""
        del role, bundle, capacity
        return best

    def arrived(self, now: Instant, agent: AgentId, wait: Wait, capacity: Resources) -> None:
        """Remember nothing."""

    def ended(self, now: Instant, end: Ended) -> None:
        """Remember nothing."""

    def refresh(self, now: Instant, held: Mapping[AgentId, int]) -> bool:
        """Say that keys do not change with time."""
        del now, held
        return False
