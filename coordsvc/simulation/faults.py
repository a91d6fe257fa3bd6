"""What goes wrong with nodes, allocators and agents, and when: drawn before anything runs."""

from coordsvc.core.units import Instant, Micros
from coordsvc.simulation.chance import Draws, Purpose, streams
from coordsvc.simulation.settings import SimSettings

MINUTE_S = 60


class FaultPlan:
    """The accidents of one run; the same for each policy."""

    def __init__(self, settings: SimSettings) -> None:
        chance = streams(settings.seed)
        terms = settings.faults
        self.node_losses = tuple(
            (at, chance[Purpose.NODE_FAULTS].below(settings.slots))
            for at in _instants(
                chance[Purpose.NODE_FAULTS], terms.node_losses_per_minute, settings.lasts_us
            )
        )
        """When, and a number that says which."""
        self.allocator_losses = tuple(
            _instants(
                chance[Purpose.ALLOCATOR_FAULTS],
                terms.allocator_losses_per_minute,
                settings.lasts_us,
            )
        )
        self._agents = chance[Purpose.AGENT_FAULTS]
        self._slow = terms.slow_agents

    def slow(self) -> bool:
        """Tell whether the next replica is slow; asked once for each, in order."""
        return self._agents.uniform() < self._slow


def _instants(draws: Draws, per_minute: float, lasts: Micros) -> list[Instant]:
    """Return when events of this rate happen, without memory."""
    found: list[Instant] = []
    if per_minute <= 0:
        return found
    now = draws.wait(per_minute / MINUTE_S)
    while now < lasts:
        found.append(Instant(now))
        now = Micros(now + draws.wait(per_minute / MINUTE_S))
    return found
