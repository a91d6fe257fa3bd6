"""A desk for each tenant: made when it is needed, ended when nobody comes any more."""

import asyncio

from coordsvc.agents.roles import ROLES, Budget
from coordsvc.agents.worker import Worker
from coordsvc.core.desk import Desk
from coordsvc.core.dialogue import RESPONDER, Phase
from coordsvc.core.messages import Declined, Finished
from coordsvc.core.offers import Ticket
from coordsvc.core.units import SECOND, AgentId, DeskId, OfferId, TurnId, after
from coordsvc.core.waits import Wait as PhaseWait
from coordsvc.serving.desk_link import LinkedDesk
from coordsvc.serving.tenant_desks import AWAY_US, SWEEP_S, TenantDesks
from tests.fakes import SLOT, FakeEngines, FakePool, ticket
from tests.jumping import LoopClock

AWAY_S = AWAY_US / SECOND


class Office:
    """An agent's replica with two tenants, and a book of the desks that were made."""

    def __init__(self) -> None:
        self.desks: dict[str, LinkedDesk] = {}
        self.made: list[str] = []
        self.pools: dict[str, FakePool] = {}
        self.offered: list[Ticket] = []
        """To each desk, as soon as it asks."""
        self.all = TenantDesks(["research", "sales"], self.make, LoopClock())

    def make(self, tenant: str) -> tuple[Worker, LinkedDesk]:
        self.made.append(tenant)
        self.pools[tenant] = FakePool(*self.offered)
        core = Desk(DeskId(f"r1/{tenant}"), AgentId(f"{tenant}/responder"), SLOT)
        desk = LinkedDesk(core, self.pools[tenant], LoopClock())
        desk.start()
        self.desks[tenant] = desk
        demand = dict.fromkeys(Phase, SLOT)
        role = ROLES[RESPONDER]
        return Worker(role, demand, Budget(), desk, FakeEngines([]), LoopClock()), desk


def wait() -> PhaseWait:
    now = LoopClock().now()
    return PhaseWait(turn=TurnId("t"), asked=now, arrived=now, deadline=after(now, 9 * SECOND))


async def test_each_tenant_has_a_desk_of_its_own_from_its_first_phase_on() -> None:
    office = Office()
    assert office.made == [""], "turns of nobody are what most services have"
    first = office.all.worker_for("research")
    assert office.all.worker_for("research") is first
    assert office.all.worker_for("sales") is not first
    assert office.made == ["", "research", "sales"]
    office.all.stop()


async def test_a_tenant_that_the_settings_do_not_know_is_nobody() -> None:
    office = Office()
    assert office.all.worker_for("marketing") is office.all.worker_for("")
    assert office.made == [""]
    office.all.stop()


async def test_who_is_away_has_no_desk_and_gets_one_again() -> None:
    office = Office()
    office.all.worker_for("research")
    await asyncio.sleep(AWAY_S / 2)
    office.all.worker_for("sales")
    await asyncio.sleep(AWAY_S / 2 + SWEEP_S)
    office.pools["research"].asked.read()
    office.pools["sales"].asked.read()
    await asyncio.sleep(5)
    assert office.pools["research"].asked.read() == [], "its desk asks for nothing any more"
    assert office.pools["sales"].asked.read() != []
    office.all.worker_for("research")
    assert office.made == ["", "research", "sales", "research"]
    office.all.stop()


async def test_a_desk_under_whose_grants_phases_run_is_not_ended_before_all_is_told() -> None:
    office = Office()
    office.offered = [ticket(7)]
    office.all.worker_for("research")
    desk = office.desks["research"]
    grant = await desk.take(SLOT, wait())
    await asyncio.sleep(3 * AWAY_S)
    office.pools["research"].asked.read()
    desk.finished(grant)
    assert not desk.at_rest, "its end is not told yet"
    await asyncio.sleep(SWEEP_S)
    assert desk.at_rest
    told = [
        event for _, report, _ in office.pools["research"].asked.read() for event in report.events
    ]
    assert told == [Finished(grant.offer_id)]
    office.all.worker_for("research")
    assert office.made == ["", "research", "research"]
    office.all.stop()


async def test_what_is_in_hand_is_given_back_before_a_desk_ends() -> None:
    office = Office()
    office.offered = [ticket(7, lasts_s=60)]
    office.all.worker_for("research")
    await asyncio.sleep(50)
    assert not office.desks["research"].at_rest
    await asyncio.sleep(20)
    told = [
        event for _, report, _ in office.pools["research"].asked.read() for event in report.events
    ]
    assert told == [Declined(OfferId(7))]
    office.all.worker_for("research")
    assert office.made == ["", "research", "research"]
    office.all.stop()


async def test_nobodys_desk_stays_however_long_nobody_comes() -> None:
    office = Office()
    await asyncio.sleep(3 * AWAY_S)
    office.all.worker_for("sales")
    office.all.worker_for("")
    assert office.made == ["", "sales"]
    office.all.stop()
