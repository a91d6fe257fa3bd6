"""Progressive filling: what a policy makes of a pool, with no allocator in between.

The pool is one large node, so that room is all that counts. Roles are asked as the allocator asks
them: the best key below, the bundle that it is for, and the name where keys are equal.
"""

from dataclasses import dataclass, field

from coordsvc.core.policies import Claim, Key, Policy, RoleView
from coordsvc.core.resources import Resources
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Instant,
    Micros,
    RoleId,
    TurnId,
)
from coordsvc.core.waits import Wait

ENDLESS = 10**9
GPU = Resources(gpu_milli=1_000)


def at(seconds: float) -> Instant:
    return Instant(round(seconds * SECOND))


def wait(
    turn: str,
    *,
    asked: float = 0,
    arrived: float = 0,
    deadline: float = 60,
    attained: float = 0,
    rest: float = 0,
) -> Wait:
    """Return a phase that waits; all in seconds."""
    return Wait(
        turn=TurnId(turn),
        asked=at(asked),
        arrived=at(arrived),
        deadline=at(deadline),
        attained_us=Micros(at(attained)),
        rest_us=Micros(at(rest)),
    )


def claim(desk: str, *, head: Wait | None = None, issued: int = 0) -> Claim:
    """Return a claim of a desk named agent-number."""
    agent = AgentId(desk.partition("-")[0])
    return Claim(desk=DeskId(desk), agent=agent, bundle=GPU, issued=issued, head=head)


def view(role: str, *, depth: int = 1, held: Resources = Resources(), bundles: int = 0) -> RoleView:
    return RoleView(role_id=RoleId(role), depth=depth, weight=1, held=held, bundles=bundles)


@dataclass(kw_only=True)
class Role:
    view: RoleView
    tenant: str | None = None
    bundle: Resources = Resources()
    wants: int = 0
    """Bundles beyond those for `waits`; a tenant wants nothing for itself."""
    waits: list[Wait] = field(default_factory=list)


@dataclass(kw_only=True)
class Pool:
    policy: Policy
    capacity: Resources
    roles: dict[str, Role] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """Who was served so far: the turn's name, or the agent's where it told of no turns."""

    def tenant(self, name: str, *, weight: int = 1) -> None:
        self.roles[name] = Role(view=RoleView(role_id=RoleId(name), depth=1, weight=weight))

    def agent(
        self,
        name: str,
        bundle: Resources = GPU,
        *,
        tenant: str | None = None,
        weight: int = 1,
        wants: int = 0,
    ) -> None:
        depth = 1 if tenant is None else 2
        seen = RoleView(role_id=RoleId(name), depth=depth, weight=weight)
        self.roles[name] = Role(view=seen, tenant=tenant, bundle=bundle, wants=wants)

    def phase(self, now: float, agent: str, waits: Wait) -> None:
        """Have a desk tell of a phase."""
        self.policy.arrived(at(now), AgentId(agent), waits, self.capacity)
        self.roles[agent].waits.append(waits)

    def free(self) -> Resources:
        left = self.capacity
        for role in self.roles.values():
            if role.view.depth == 1:
                left -= role.view.held
        return left

    def serve(self) -> str | None:
        """Give one bundle to whom the policy says; None when nobody can be given any."""
        best = self._best_of(None, self.free())
        if best is None:
            return None
        name = best[2]
        role = self.roles[name]
        if role.waits:
            head = min(role.waits, key=self.policy.urgency)
            role.waits.remove(head)
            self.order.append(head.turn)
        else:
            role.wants -= 1
            self.order.append(name)
        for above in self._path(name):
            above.held += role.bundle
            above.bundles += 1
            above.served = len(self.order)
        return self.order[-1]

    def fill(self) -> list[str]:
        """Serve while anybody can be served; return all who were."""
        while self.serve() is not None:
            pass
        return self.order

    def give_back(self, agent: str) -> None:
        """End one of an agent's grants."""
        for above in self._path(agent):
            above.held -= self.roles[agent].bundle
            above.bundles -= 1

    def counts(self) -> dict[str, int]:
        return {name: role.view.bundles for name, role in self.roles.items() if role.bundle}

    def _path(self, name: str) -> list[RoleView]:
        role = self.roles[name]
        return [role.view] + ([] if role.tenant is None else [self.roles[role.tenant].view])

    def _best_of(self, tenant: str | None, free: Resources) -> tuple[Key, Key, str] | None:
        """Return, of the children of a tenant or of the root, (place, key, agent) of the first."""
        places = []
        for name, role in self.roles.items():
            is_child = role.view.depth == 1 if tenant is None else role.tenant == tenant
            below = self._below(name, role, free) if is_child else None
            if below is None:
                continue
            best, agent = below
            bundle = self.roles[agent].bundle
            key = self.policy.role_key(role.view, best, bundle, self.capacity)
            if key is not None:
                places.append(((key, name), key, agent))
        return min(places, default=None)

    def _below(self, name: str, role: Role, free: Resources) -> tuple[Key, str] | None:
        """Return the best key below a role, and the agent that it is of."""
        if not role.bundle:
            best = self._best_of(name, free)
            return None if best is None else best[1:]
        if not (role.waits or role.wants) or not free.covers(role.bundle):
            return None
        head = min(role.waits, key=self.policy.urgency, default=None)
        seen = Claim(
            desk=DeskId(f"{name}-1"),
            agent=AgentId(name),
            bundle=role.bundle,
            issued=role.view.bundles,
            head=head,
        )
        return self.policy.desk_key(seen), name
