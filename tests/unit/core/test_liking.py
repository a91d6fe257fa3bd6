"""Which of the offers in hand a phase takes."""

from coordsvc.core.liking import CACHED, MEANT, NEAR, NOTHING, Held, liking, most_liked
from coordsvc.core.units import Instant, NodeId, TurnId
from tests.unit.core.stories import GPU, HALF, N1, N2, N3, QUARTER, a_grant

T1 = TurnId("t1")


def held(number: int, node: NodeId = N1, *, turn: TurnId | None = None, cached: str = "") -> Held:
    return Held(a_grant(number, node), Instant(9), {}, frozenset({cached}), turn)


PLAIN, THERE, HAS_IT, MINE = (
    held(1),
    held(2, N2),
    held(3, cached="dialogue"),
    held(4, turn=T1),
)
ALL = (PLAIN, THERE, HAS_IT, MINE)


def test_its_turn_speaks_more_than_its_node_and_its_node_more_than_what_is_cached() -> None:
    said = [liking(one, T1, N2, "dialogue") for one in ALL]
    assert said == [NOTHING, NEAR, CACHED, MEANT]
    assert NOTHING < CACHED < NEAR < MEANT


def test_the_one_for_which_most_speaks_is_taken() -> None:
    assert most_liked(ALL, HALF, T1, N2, "dialogue") == MINE
    assert most_liked(ALL[:3], HALF, T1, N2, "dialogue") == THERE
    assert most_liked(ALL, HALF, None, N3, "dialogue") == HAS_IT


def test_where_nothing_speaks_for_any_the_oldest_is_taken() -> None:
    assert most_liked(ALL, QUARTER, None, None, "") == PLAIN
    assert most_liked(ALL, QUARTER, TurnId("t9"), N3, "another") == PLAIN


def test_what_is_too_small_is_not_taken_whatever_speaks_for_it() -> None:
    assert most_liked(ALL, GPU, T1, N2, "dialogue") is None
