"""What happens in which order."""

from coordsvc.core.units import Instant, Micros
from coordsvc.simulation.clock import JumpClock
from coordsvc.simulation.loop import Loop


def told(loop: Loop, said: list[tuple[str, int]], word: str) -> None:
    said.append((word, loop.clock.now()))


def test_what_is_due_earlier_happens_earlier_and_ties_go_by_who_came_first() -> None:
    loop, said = Loop(JumpClock()), []
    for at, word in ((20, "late"), (10, "first"), (10, "second"), (0, "now")):
        loop.at(Instant(at), told, loop, said, word)
    loop.run(Instant(100))
    assert said == [("now", 0), ("first", 10), ("second", 10), ("late", 20)]
    assert loop.clock.now() == 100


def test_what_is_due_at_the_end_or_later_does_not_happen_before_the_loop_goes_on() -> None:
    loop, said = Loop(JumpClock()), []
    loop.at(Instant(10), told, loop, said, "at the end")
    loop.run(Instant(10))
    assert said == []
    loop.run(Instant(11))
    assert said == [("at the end", 10)]


def test_what_is_past_is_due_now() -> None:
    loop, said = Loop(JumpClock(Instant(50))), []
    loop.at(Instant(10), told, loop, said, "past")
    loop.after(Micros(5), told, loop, said, "soon")
    loop.run(Instant(60))
    assert said == [("past", 50), ("soon", 55)]


def test_the_loop_ends_when_it_is_said_to_be_enough() -> None:
    loop, said = Loop(JumpClock()), []
    for at in (1, 2, 3):
        loop.at(Instant(at), told, loop, said, "again")
    loop.run(Instant(100), done=lambda: len(said) == 2)
    assert said == [("again", 1), ("again", 2)]
    assert loop.clock.now() == 2
