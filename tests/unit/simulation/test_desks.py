"""A desk's line to the allocator, against an allocator that answers as it is told."""

from coordsvc.core.desk import Desk
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.filters import ANY_NODE
from coordsvc.core.messages import Accepted
from coordsvc.core.offers import Grant, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    Instant,
    Micros,
    NodeId,
    OfferId,
    TurnId,
)
from coordsvc.core.waits import Wait
from coordsvc.simulation.book import Book
from coordsvc.simulation.chance import Purpose, streams
from coordsvc.simulation.clock import JumpClock
from coordsvc.simulation.desks import LISTEN_US, RETRY_US, SimDesk
from coordsvc.simulation.loop import Loop
from coordsvc.simulation.settings import ON_DEMAND, SimSettings
from coordsvc.simulation.turns import LiveTurn, rules_of
from coordsvc.simulation.wire import Wire
from coordsvc.simulation.workload import Turn

AGENT = AgentId("planner")
BUNDLE = Resources(gpu_milli=250)
EPOCH = Epoch("run", 1)
RULES = rules_of(checked=False, revisions_max=0)


class Situation:
    """One desk; what it tells is kept, and nobody answers but the test."""

    def __init__(self) -> None:
        self.loop = Loop(JumpClock())
        settings = SimSettings(delay_us=Micros(100), jitter_us=Micros(0))
        chance = streams(1)
        wire = Wire(self.loop, settings, chance[Purpose.DELAYS], chance[Purpose.MESSAGE_FAULTS])
        desk = Desk(DeskId("d"), AGENT, BUNDLE, ON_DEMAND)
        book = Book([({}, 1)], {AGENT: ANY_NODE})
        self.desk = SimDesk(desk, wire, book, lambda wait: (-wait.asked,), self.began)
        self.told: list[tuple[Instant, DeskReport, bool]] = []
        self.begun: list[tuple[str, Grant]] = []
        self.desk.start(self)
        self.until(200)

    def exchange(self, desk: SimDesk, report: DeskReport, sent: Instant, *, listens: bool) -> None:
        self.told.append((sent, report, listens))

    def began(self, desk: SimDesk, turn: LiveTurn, grant: Grant) -> None:
        self.begun.append((turn.turn.turn, grant))

    def until(self, instant: int) -> None:
        self.loop.run(Instant(instant))

    def ask(self, name: str) -> None:
        now = self.loop.clock.now()
        turn = Turn(
            turn=TurnId(name),
            arrives=now,
            costs_us=(Micros(1), Micros(1)),
            deadline_us=Micros(SECOND),
        )
        live = LiveTurn(turn, now, RULES, None)
        live.start()
        self.desk.ask(live, live.wait(now, None))

    def offer(self, number: int, meant_for: str | None = None) -> None:
        ticket = Ticket(
            epoch=EPOCH,
            offer_id=OfferId(number),
            node=NodeId("n"),
            bundle=BUNDLE,
            lasts=Micros(10 * SECOND),
            meant_for=TurnId(meant_for) if meant_for else None,
        )
        self.desk.answered(self.told[0][0], DeskReply(epoch=EPOCH, offers=(ticket,)), listens=True)


def waits(report: DeskReport) -> list[Wait]:
    return [wait.turn for wait in report.waits]


def test_a_desk_listens_from_the_start() -> None:
    assert [(sent, listens) for sent, _, listens in Situation().told] == [(0, True)]


def test_a_phase_that_waits_is_told_of_at_once() -> None:
    s = Situation()
    s.ask("t1")
    s.until(400)
    sent, report, listens = s.told[1]
    assert (sent, report.waiting, waits(report), listens) == (200, 1, ["t1"], False)
    assert s.desk.waiting == 1


def test_an_offer_goes_to_the_phase_that_it_is_meant_for() -> None:
    s = Situation()
    s.ask("t1")
    s.ask("t2")
    s.offer(1, meant_for="t1")
    assert [turn for turn, _ in s.begun] == ["t1"]
    assert s.desk.waiting == 1


def test_an_offer_that_is_meant_for_nobody_here_goes_to_the_most_urgent() -> None:
    """Here the policy says: who asked last."""
    s = Situation()
    s.ask("t1")
    s.until(300)
    s.ask("t2")
    s.offer(1, meant_for="gone")
    assert [turn for turn, _ in s.begun] == ["t2"]


def test_a_phase_that_finds_an_offer_in_hand_waits_for_nothing() -> None:
    s = Situation()
    s.ask("t1")
    s.ask("t2")
    s.offer(1)
    s.offer(2)
    assert len(s.begun) == 2
    s.until(400)
    events = [event for _, report, _ in s.told for event in report.events]
    assert Accepted(OfferId(1), BUNDLE) in events


def test_an_allocator_that_does_not_answer_is_noticed_and_called_again() -> None:
    s = Situation()
    s.desk.unanswered(Instant(200), listens=True)
    silent_at = 200 + LISTEN_US + ON_DEMAND.silent_after_us
    s.until(silent_at)
    assert not s.desk.desk.silent
    s.until(silent_at + 1)
    assert s.desk.desk.silent
    s.until(silent_at + RETRY_US + 200)
    assert s.told[-1][0] == silent_at + RETRY_US
    assert s.told[-1][2]


def test_what_was_asked_of_a_dead_allocator_does_not_make_its_successor_silent() -> None:
    s = Situation()
    s.desk.unanswered(Instant(200), listens=True)
    s.offer(1)
    s.until(10 * SECOND)
    assert not s.desk.desk.silent


def test_calls_of_the_desk_are_counted() -> None:
    s = Situation()
    before = s.desk.calls
    s.ask("t1")
    s.offer(1)
    assert s.desk.calls - before >= 4
