"""Messages that take their time, and some that have an accident."""

from coordsvc.core.units import Instant, Micros
from coordsvc.simulation.chance import Purpose, streams
from coordsvc.simulation.clock import JumpClock
from coordsvc.simulation.loop import Loop
from coordsvc.simulation.settings import FaultTerms, SimSettings
from coordsvc.simulation.wire import Wire


def wire(**faults) -> Wire:
    settings = SimSettings(delay_us=Micros(100), jitter_us=Micros(50), faults=FaultTerms(**faults))
    chance = streams(2)
    loop = Loop(JumpClock())
    return Wire(loop, settings, chance[Purpose.DELAYS], chance[Purpose.MESSAGE_FAULTS])


class Ends:
    """Both ends of a wire: what arrived and when, and what was lost."""

    def __init__(self, line: Wire) -> None:
        self.line = line
        self.heard: list[tuple[int, Instant]] = []
        self.copies: list[int] = []
        self.lost: list[int] = []

    def send(self, number: int) -> None:
        self.line.send(
            lambda: self.heard.append((number, self.line.loop.clock.now())),
            lost=lambda: self.lost.append(number),
            again=lambda: self.copies.append(number),
        )

    def of(self, count: int) -> "Ends":
        for number in range(count):
            self.send(number)
        self.line.loop.run(Instant(10_000_000))
        return self


def test_a_message_takes_the_delay_and_some_jitter() -> None:
    ends = Ends(wire()).of(200)
    took = [at for _, at in ends.heard]
    assert (min(took), max(took)) == (100, 150)
    assert ends.lost == ends.copies == []


def test_messages_are_lost_as_often_as_told_and_each_loss_is_noticed() -> None:
    ends = Ends(wire(lost=0.2)).of(1_000)
    assert 150 < len(ends.lost) < 250
    assert sorted(ends.lost + [number for number, _ in ends.heard]) == list(range(1_000))


def test_messages_come_twice_as_often_as_told() -> None:
    ends = Ends(wire(twice=0.2)).of(1_000)
    assert 150 < len(ends.copies) < 250
    assert len(ends.heard) == 1_000


def test_late_messages_are_overtaken() -> None:
    ends = Ends(wire(late=0.1)).of(1_000)
    late = [number for number, at in ends.heard if at > 150]
    assert 50 < len(late) < 150


def test_what_may_not_be_lost_never_is() -> None:
    line, heard = wire(lost=0.9), []
    for number in range(50):
        line.send(heard.append, number)
    line.loop.run(Instant(1_000))
    assert sorted(heard) == list(range(50))
