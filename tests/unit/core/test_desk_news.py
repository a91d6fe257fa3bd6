"""When a desk tells what it has to tell: at once, or in company."""

from coordsvc.core.exchange import DeskReply
from tests.fakes import FIRST
from tests.unit.core.test_desk import START, a_desk, at, take, with_offers


def test_a_phase_that_waits_is_told_at_once_and_once() -> None:
    desk = a_desk()
    desk.waiting = 1
    assert desk.report_due(START) == START
    assert desk.report(START).waiting == 1
    assert desk.report_due(START) is None
    desk.waiting = 2
    assert desk.report_due(START) == START


def test_news_waits_for_company_and_longer_while_plenty_is_in_hand() -> None:
    desk = with_offers(*range(1, 9))
    assert desk.report_due(START) is None
    take(desk)
    assert desk.report_due(START) == at(desk.terms.linger_us)
    for _ in range(4):
        take(desk, at(10))
    assert desk.report_due(at(10)) == at(desk.terms.linger_low_us)
    desk.report(at(20))
    assert desk.report_due(at(20)) is None


def test_an_end_is_told_at_once_while_phases_wait_here() -> None:
    """What has ended is what the next phase could have: to linger would leave it idle meanwhile."""
    desk = with_offers(1, 2)
    grant = take(desk)
    desk.waiting = 1
    desk.report(at(5))
    assert desk.report_due(at(5)) is None
    desk.finished(at(10), grant)
    assert desk.report_due(at(10)) == at(10)


def test_an_end_is_told_at_once_while_phases_wait_elsewhere() -> None:
    desk = with_offers(1, 2, 3, 4)
    one, two = take(desk), take(desk)
    desk.report(at(5))
    desk.heard(at(5), at(6), DeskReply(epoch=FIRST, pressed=True), waited=False)
    desk.finished(at(10), one)
    assert desk.report_due(at(10)) == at(10)
    desk.report(at(10))
    desk.heard(at(10), at(11), DeskReply(epoch=FIRST), waited=False)
    desk.finished(at(20), two)
    assert desk.report_due(at(20)) > at(20), "nobody waits any more"


def test_what_frees_nothing_waits_for_company_even_then() -> None:
    desk = with_offers(1, 2, 3, 4)
    desk.heard(at(5), at(6), DeskReply(epoch=FIRST, pressed=True), waited=False)
    take(desk, at(10))
    assert desk.report_due(at(10)) > at(10)
