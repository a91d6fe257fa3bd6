"""The order of those who wait, as it stands."""

import pytest

from coordsvc.core.allocator import Allocator
from coordsvc.core.hindsight.order_told import key_in_words, line_of
from coordsvc.core.messages import DeskJoined, NodeJoined, SendOffer, Wanted
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms
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
    RoleId,
    TurnId,
)
from coordsvc.core.waits import PhaseWait

GPU = Resources(gpu_milli=1_000)
PLAN = ((0, AgentId("planner")), (1, AgentId("checker")))


def waiting(policy: str) -> Allocator:
    """Return an allocator with three desks of two agents, where phases wait for a node."""
    partition = {RoleId("planner"): 1, RoleId("checker"): 1}
    terms = Terms(policy=PolicyTerms(name=policy, partition=partition, plan=PLAN))
    allocator = Allocator(Epoch("run", 1), terms)
    for desk, agent, waited in (("p1", "planner", 1), ("p2", "planner", 3), ("c1", "checker", 2)):
        wait = PhaseWait(
            turn=TurnId(desk),
            waited_us=Micros(waited * SECOND),
            turn_us=Micros(waited * SECOND),
            left_us=Micros(9 * SECOND),
            rest_us=Micros(SECOND),
        )
        allocator.handle(Instant(0), DeskJoined(DeskId(desk), AgentId(agent), GPU))
        allocator.handle(Instant(0), Wanted(DeskId(desk), 1, 0, (wait,)))
    return allocator


def test_the_line_is_the_order_in_which_they_are_served() -> None:
    allocator = waiting("first_come")
    line = [desk for _, desk in line_of(allocator)]
    served = [
        effect.offer.desk
        for n in range(3)
        for effect in allocator.handle(Instant(1), NodeJoined(NodeId(f"n{n}"), GPU))
        if isinstance(effect, SendOffer)
    ]
    assert line == served == ["p2", "c1", "p1"]
    assert line_of(allocator) == []


def test_who_only_holds_ahead_does_not_stand_in_line() -> None:
    allocator = waiting("first_come")
    allocator.handle(Instant(0), Wanted(DeskId("p2"), 0, 2))
    assert [desk for _, desk in line_of(allocator)] == ["c1", "p1"]


WORDS = {
    "fair_share": "planner has 0.0% of the pool by weight; asked 3.0 s ago",
    "utility": "planner holds 0 bundles, and gains most by one more; asked 3.0 s ago",
    "oldest_first": "its turn arrived 3.0 s ago",
    "attained_service": "its turn has had 0.0 s of engine time; asked 3.0 s ago",
    "slack": "its rest can begin 8.0 s from now; asked 3.0 s ago",
    "virtual_finish": "its turn came 3.0 s ago, and needs 1.0 s still",
    "planned": "its turn's place in the plan; asked 3.0 s ago",
    "round_robin": "planner was never served; asked 3.0 s ago",
    "first_come": "asked 3.0 s ago",
    "static_partition": "planner has room in its part; asked 3.0 s ago",
}


@pytest.mark.parametrize("policy", NAMES)
def test_every_policys_key_has_words(policy: str) -> None:
    allocator = waiting(policy)
    assert key_in_words(allocator, allocator.desks[DeskId("p2")], Instant(0)) == WORDS[policy]


def test_a_desk_that_told_of_no_turn_has_no_words_of_its_own() -> None:
    allocator = waiting("first_come")
    allocator.handle(Instant(0), Wanted(DeskId("p2"), 1, 0))
    assert "no turn" in key_in_words(allocator, allocator.desks[DeskId("p2")], Instant(0))
