"""What a desk tells in one exchange, and on whose word."""

from coordsvc.core.exchange import DeskReport
from coordsvc.core.messages import (
    Accepted,
    Declined,
    Finished,
    GangGivenUp,
    GangWanted,
    Wanted,
)
from coordsvc.core.units import Micros, OfferId
from tests.unit.core.stories import G1, HALF, P1, PLANNER, R1, a_wait, member

ONE, TWO, THREE = OfferId(1), OfferId(2), OfferId(3)


def test_what_is_wanted_comes_after_what_happened() -> None:
    waits = (a_wait("t1"),)
    end = Finished(THREE, Micros(7), True, phase="revise")
    report = DeskReport(
        desk=P1,
        agent=PLANNER,
        bundle=HALF,
        waiting=1,
        ahead=2,
        events=(Accepted(ONE, HALF), Declined(TWO, Micros(5)), end),
        waits=waits,
    )
    assert report.told() == (
        Accepted(ONE, HALF, by=P1),
        Declined(TWO, Micros(5), by=P1),
        Finished(THREE, Micros(7), True, by=P1, phase="revise"),
        Wanted(P1, 1, 2, waits),
    )


def test_no_desk_speaks_in_the_name_of_another() -> None:
    """Whatever the events say: whose word they are is whose report they are in."""
    lies = (Finished(ONE, by=R1), GangWanted(G1, R1, (member(),)), GangGivenUp(G1, by=R1))
    report = DeskReport(desk=P1, agent=PLANNER, bundle=HALF, waiting=0, ahead=0, events=lies)
    assert report.told()[:3] == (
        Finished(ONE, by=P1),
        GangWanted(G1, P1, (member(),)),
        GangGivenUp(G1, by=P1),
    )
