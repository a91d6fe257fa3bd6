"""One run from its settings to its result; a function and nothing else."""

from dataclasses import replace

from coordsvc.simulation.results import Result, result_of
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.world import World


def simulate(settings: SimSettings) -> Result:
    """Return what a run with these settings comes to; the same for the same, on any machine.

    Raises:
        ValueError: a policy or a workload that does not exist, or terms that it does not take.

    """
    world = World(settings)
    world.run()
    return result_of(world)


def slowdowns(settings: SimSettings, shared: Result) -> dict[str, float]:
    """Return how many times longer each tenant's turns took than with the pool to itself.

    `shared` is the run of all tenants; each is run once more, alone, with the same turns.
    """
    found: dict[str, float] = {}
    for tenant, mean_us in shared.tenants_mean_us.items():
        alone = simulate(replace(settings, tenant=tenant)).tenants_mean_us.get(tenant)
        if alone:
            found[tenant] = mean_us / alone
    return found


def worst_slowdown(settings: SimSettings, shared: Result) -> float | None:
    """Return the largest of the tenants' slowdowns; None where there are no tenants."""
    return max(slowdowns(settings, shared).values(), default=None)
