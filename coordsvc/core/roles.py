"""Who shares the pool: a tree of roles, tenants above agents, with weights, guarantees, limits.

An agent's id is its path: `acme/planner` is the planner of the tenant `acme`; `planner` stands
directly under the root. What a role holds includes what all below it hold.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from coordsvc.core.policies import RoleView
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, RoleId

ROOT = RoleId("")
NOTHING = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTerms:
    """What one role is entitled to."""

    weight: int = 1
    """Its fair share, relative to its siblings'."""
    guarantee: Resources = NOTHING
    """What it gets before anybody gets more than theirs. Others may borrow it, revocably."""
    limit: Resources | None = None
    """What it may hold at most."""


@dataclass(slots=True, kw_only=True)
class Role(RoleView):
    """One role, and its way up."""

    terms: RoleTerms
    parent: "Role | None"

    def way_up(self) -> Iterator["Role"]:
        """Yield this role, then those above it, without the root."""
        role: Role | None = self
        while role is not None and role.parent is not None:
            yield role
            role = role.parent

    def within_guarantee(self, more: Resources) -> bool:
        """Tell whether `more` is still covered by the guarantee of this role or one above it."""
        return any(
            role.terms.guarantee.covers(role.held + more)
            for role in self.way_up()
            if role.terms.guarantee
        )

    def can_spare(self, less: Resources) -> bool:
        """Tell whether this role and those above it keep their guarantees without `less`."""
        return all(
            (role.held - less).covers(role.terms.guarantee)
            for role in self.way_up()
            if role.terms.guarantee
        )

    def within_limits(self, more: Resources) -> bool:
        """Tell whether no limit on the way up is in the way of `more`."""
        return all(
            role.terms.limit is None or role.terms.limit.covers(role.held + more)
            for role in self.way_up()
        )


@dataclass(slots=True)
class Roles:
    """All roles that have been seen, by id."""

    terms: Mapping[RoleId, RoleTerms] = field(default_factory=dict)
    known: dict[RoleId, Role] = field(default_factory=dict)
    unmet: Resources = NOTHING
    """What of guarantees is not held now; nested ones count once, at the top."""

    def __post_init__(self) -> None:
        self.root = Role(role_id=ROOT, depth=0, weight=1, terms=RoleTerms(), parent=None)
        self.known[ROOT] = self.root
        for role_id in sorted(self.terms):
            self.get(role_id)

    root: Role = field(init=False)

    def get(self, role_id: RoleId | AgentId) -> Role:
        """Return the role, entered with all above it on its first mention."""
        found = self.known.get(RoleId(role_id))
        return found if found is not None else self._enter(RoleId(role_id))

    def change(self, terms: Mapping[RoleId, RoleTerms]) -> None:
        """Take other terms; what is held stays held."""
        self.terms = terms
        for role_id, role in self.known.items():
            role.terms = terms.get(role_id, RoleTerms())
            role.weight = role.terms.weight
        for role_id in sorted(terms):
            self.get(role_id)
        self.unmet = self._unmet()

    def forget_all_but(self, agents: Iterable[AgentId]) -> None:
        """Forget roles that hold nothing, have no terms, and are not on the way up of `agents`."""
        used = [*map(RoleId, agents), *self.terms]
        used += [role_id for role_id, role in self.known.items() if role.bundles]
        kept = {ROOT} | {one.role_id for role_id in used for one in self.get(role_id).way_up()}
        for role_id in [role_id for role_id in self.known if role_id not in kept]:
            del self.known[role_id]

    def book(self, agent: AgentId, more: Resources, bundles: int) -> None:
        """Count `more` as held by the agent and everything above it."""
        role: Role | None = self.get(agent)
        while role is not None:
            role.held += more
            role.bundles += bundles
            role = role.parent
        self._recount(agent)

    def unbook(self, agent: AgentId, less: Resources, bundles: int) -> None:
        """Count `less` as no longer held by the agent and everything above it."""
        role: Role | None = self.get(agent)
        while role is not None:
            role.held -= less
            role.bundles -= bundles
            role = role.parent
        self._recount(agent)

    def _recount(self, agent: AgentId) -> None:
        if self.terms and any(role.terms.guarantee for role in self.get(agent).way_up()):
            self.unmet = self._unmet()

    def guaranteed(self) -> Resources:
        """Return what is guaranteed to all together; nested guarantees count once, at the top."""
        return sum((role.terms.guarantee for role in self._topmost()), start=NOTHING)

    def _unmet(self) -> Resources:
        return sum(
            (role.terms.guarantee.lack(role.held) for role in self._topmost()), start=NOTHING
        )

    def _topmost(self) -> Iterator[Role]:
        """Yield the roles with a guarantee that none above them has."""
        for role in self.known.values():
            above = role.parent.way_up() if role.parent else iter(())
            if role.terms.guarantee and not any(one.terms.guarantee for one in above):
                yield role

    def _enter(self, role_id: RoleId) -> Role:
        above, _, _ = role_id.rpartition("/")
        parent = self.get(RoleId(above)) if above else self.root
        terms = self.terms.get(role_id, RoleTerms())
        role = Role(
            role_id=role_id,
            depth=parent.depth + 1,
            weight=terms.weight,
            terms=terms,
            parent=parent,
        )
        self.known[role_id] = role
        if terms.guarantee:
            self.unmet = self._unmet()
        return role
