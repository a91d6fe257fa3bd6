"""What passes an ingress's recorder is added up, and goes on."""

from coordsvc.core.errors import AgentGone
from coordsvc.core.scaling_report import C_COORD, TURNS
from coordsvc.serving.scaling_reports import SummedTurns
from tests.fakes import FakeRecorder
from tests.unit.telemetry.told import PLAN, RESPOND, turn


def test_turns_are_summed_and_told_on() -> None:
    inside = FakeRecorder()
    recorder = SummedTurns(inside)
    first, second = turn(PLAN, RESPOND), turn(PLAN, RESPOND, wall_ms=900)
    recorder.answered(first)
    recorder.answered(second)
    lost = AgentGone("checker")
    recorder.check_lost("t1", lost)
    recorder.checked_late((PLAN, RESPOND))
    told = recorder.sums.report()
    assert told[TURNS] == 2
    assert told[C_COORD] == first.account.c_coord_us + second.account.c_coord_us
    assert inside.asked.read() == [
        ("answered", first),
        ("answered", second),
        ("check_lost", "t1", lost),
        ("checked_late", (PLAN, RESPOND)),
    ]
