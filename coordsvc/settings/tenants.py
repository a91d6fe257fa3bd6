"""Tenants: what each may have of the pool, above its agents."""

from collections.abc import Iterable, Mapping

from pydantic import Field

from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.units import AgentId, RoleId, of_tenant, tenant_and_agent
from coordsvc.settings.bundle import Bundle
from coordsvc.settings.node import Node

TENANTS_MAX = 1_000
"""Each has a desk at every replica of an agent that has worked for it lately."""


class TenantSettings(Node):
    """One tenant. Its agents share what it has as all agents would share the pool."""

    weight: int = Field(default=1, ge=1, le=1_000)
    """Its fair share, relative to the other tenants'; an agent without a tenant counts as one."""
    guarantee: Bundle = Bundle()
    """What it gets before anybody gets more than theirs; others may borrow it."""
    limit: Bundle | None = None
    """What it may hold at most; None sets no limit."""

    def check(self, where: str, least: Mapping[AgentId, Resources]) -> None:
        """Raise `ValueError` if it is promised more than it may hold, or could never be served.

        `least` is the smallest bundle that is of use to each agent.
        """
        role = self.role()
        if role.limit is not None and not role.limit.covers(role.guarantee):
            raise ValueError(
                f"{where}.guarantee ({role.guarantee}) is more than its limit ({role.limit}) "
                "(amounts in thousandths)"
            )
        for agent, bundle in least.items():
            if role.limit is not None and not role.limit.covers(bundle):
                raise ValueError(
                    f"{where}.limit ({role.limit}) is less than one phase of its {agent} takes "
                    f"({bundle}) (amounts in thousandths)"
                )

    def role(self) -> RoleTerms:
        """Return what the tenant is entitled to."""
        return RoleTerms(
            weight=self.weight,
            guarantee=self.guarantee.resources(),
            limit=self.limit.resources() if self.limit else None,
        )


def role_terms(
    tenants: Mapping[str, TenantSettings], agents: Mapping[AgentId, RoleTerms]
) -> dict[RoleId, RoleTerms]:
    """Return the tree of roles: the agents, the tenants, and each tenant's agents.

    A tenant's agents have the agents' weights between them; guarantees and limits of agents are
    for turns of no tenant.
    """
    roles = {RoleId(agent): terms for agent, terms in agents.items()}
    for name, tenant in tenants.items():
        roles[RoleId(name)] = tenant.role()
        for agent, terms in agents.items():
            roles[RoleId(of_tenant(name, agent))] = RoleTerms(weight=terms.weight)
    return roles


def weights_for_all(
    tenants: Iterable[str], weights: Mapping[AgentId, float]
) -> dict[AgentId, float]:
    """Return the weights, with each tenant's agent weighing what the agent does where not said."""
    inherited = {
        of_tenant(tenant, agent): weight
        for tenant in tenants
        for agent, weight in weights.items()
        if agent == tenant_and_agent(agent)[1]
    }
    return {**inherited, **weights}
