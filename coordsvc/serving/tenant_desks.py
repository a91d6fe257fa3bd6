"""A desk for each tenant that an agent's replica works for, and none for those who are away."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from coordsvc.agents.worker import Worker
from coordsvc.core.units import SECOND, Instant, Micros, since
from coordsvc.ports import Clock
from coordsvc.serving.desk_link import LinkedDesk

AWAY_US = Micros(20 * SECOND)
"""A tenant without a phase for so long is away. A desk asks every two seconds for news, so hundreds
that are idle would be a load; a new one costs its first phase nothing that the old one would not:
by then it holds nothing ahead either."""
SWEEP_S = 5.0
"""How often it is looked who is away."""
NOBODY = ""
"""The tenant of a turn that has none, or one that the settings do not know."""


@dataclass(slots=True)
class _Place:
    worker: Worker
    desk: LinkedDesk | None
    used: Instant


class TenantDesks:
    """Who works for a tenant; made at the first need, ended when the tenant has been away."""

    def __init__(
        self,
        tenants: Collection[str],
        make: Callable[[str], tuple[Worker, LinkedDesk | None]],
        clock: Clock,
    ) -> None:
        """`make` returns who works for a tenant, and the desk to be ended, started already."""
        self._tenants = frozenset(tenants)
        self._make = make
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self.worker_for(NOBODY)

    def worker_for(self, tenant: str) -> Worker:
        """Return who works for the tenant."""
        now = self._clock.now()
        known = tenant if tenant in self._tenants else NOBODY
        place = self._places.get(known)
        if place is None:
            worker, desk = self._make(known)
            place = self._places[known] = _Place(worker, desk, now)
            if known != NOBODY and self._sweeping is None:
                self._sweep_later()
        place.used = now
        return place.worker

    def stop(self) -> None:
        """End all desks; what they hold lapses."""
        for place in self._places.values():
            if place.desk is not None:
                place.desk.stop()
        self._places.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """End the desks of those who are away; look again while there are any."""
        now = self._clock.now()
        for tenant, place in list(self._places.items()):
            away = tenant != NOBODY and since(place.used, now) >= AWAY_US
            if away and place.desk is not None and place.desk.at_rest:
                place.desk.stop()
                del self._places[tenant]
        self._sweeping = None
        if self._places.keys() - {NOBODY}:
            self._sweep_later()
