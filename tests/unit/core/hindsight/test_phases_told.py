"""Phases, as a log tells of them."""

from dataclasses import replace

from coordsvc.core.hindsight.decisions import Decision
from coordsvc.core.hindsight.phases_told import PhaseTold, told_by
from coordsvc.core.messages import (
    Accepted,
    DeskJoined,
    DeskLost,
    Effect,
    Event,
    Finished,
    Freed,
    Granted,
    NodeLost,
    Ticked,
    Wanted,
)
from coordsvc.core.offers import ACCEPTED, RELEASED, RESCINDED, Offer
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Instant, Micros, NodeId, OfferId, TurnId
from coordsvc.core.waits import PhaseWait

HALF = Resources(gpu_milli=500)
P1, PLANNER = DeskId("p1"), AgentId("planner")
DESKS = {P1: (PLANNER, HALF)}
GRANT = Offer(
    offer_id=OfferId(1),
    agent=PLANNER,
    desk=P1,
    node=NodeId("n1"),
    bundle=HALF,
    expires_at=Instant(0),
    state=ACCEPTED,
)
ENDED = Freed(replace(GRANT, state=RELEASED))


def said(at: int, event: Event, *effects: Effect) -> Decision:
    return Decision(at=Instant(at), event=event, effects=effects)


def waiting(at: int, *turns: str) -> Decision:
    waits = tuple(
        PhaseWait(turn=TurnId(turn), waited_us=Micros(n), turn_us=Micros(n), left_us=Micros(9))
        for n, turn in enumerate(turns)
    )
    return said(at, Wanted(P1, len(waits), 0, waits))


def started(at: int, turn: str | None = None) -> Decision:
    meant = None if turn is None else TurnId(turn)
    return said(at, Accepted(OfferId(1), HALF), Granted(replace(GRANT, meant_for=meant)))


def shown(phase: PhaseTold) -> tuple[str, int, int | None, int | None]:
    return (phase.wait.turn, phase.wait.asked, phase.began, phase.lasted)


def test_a_phase_waits_from_its_first_mention_until_its_grant_and_lasts_until_its_end() -> None:
    log = [
        waiting(10, "a", "b"),
        waiting(12, "a", "b"),  # the same two, told again
        started(15, "b"),
        said(40, Finished(OfferId(1)), ENDED),
    ]
    told = told_by(log, DESKS, ())
    assert list(map(shown, told.phases)) == [("b", 9, 15, 25), ("a", 10, None, None)]


def test_what_kind_of_phase_it_was_is_known_from_its_end() -> None:
    log = [started(15), said(40, Finished(OfferId(1), phase="revise"), ENDED)]
    (phase,) = told_by(log, DESKS, ()).phases
    assert (phase.phase, phase.lasted) == ("revise", 25)


def test_an_offer_that_was_meant_for_nobody_goes_to_who_waits_longest() -> None:
    told = told_by([waiting(10, "a", "b"), started(15)], DESKS, ())
    assert list(map(shown, told.phases)) == [("b", 9, 15, None), ("a", 10, None, None)]


def test_a_phase_that_nobody_told_of_did_not_wait() -> None:
    (phase,) = told_by([started(15)], DESKS, ()).phases
    assert shown(phase) == ("offer 1", 15, 15, None)


def test_a_phase_whose_node_died_has_no_known_length() -> None:
    lost = said(20, NodeLost(NodeId("n1")), Freed(replace(GRANT, state=RESCINDED)))
    (phase,) = told_by([started(15), lost], DESKS, ()).phases
    assert phase.lasted is None


def test_what_a_lost_desk_waited_for_is_no_phase() -> None:
    log = [said(1, DeskJoined(P1, PLANNER, HALF)), waiting(2, "a"), said(3, DeskLost(P1))]
    assert told_by(log, {}, ()).phases == []


def test_of_a_grant_that_was_there_before_only_its_end_is_told() -> None:
    told = told_by([said(5, Ticked()), said(9, Finished(OfferId(1)), ENDED)], DESKS, [GRANT])
    assert told.phases == []
    assert told.ends == {OfferId(1): 9}
