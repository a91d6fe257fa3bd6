from coordsvc.bench.deaths import (
    AGENT,
    ALLOCATOR,
    ENGINE,
    Death,
    broken_midway,
    recovery_s,
    slowest,
    summary,
    undisturbed_s,
)
from coordsvc.bench.turns import Question, Told

RIGHT = Question(body={"stream": True}, expected="one two three")


def death(at, recovered, kind=ENGINE):
    return Death(kind=kind, at_s=at, recovered_s=recovered)


def told(asked, ended, *, text="one two three", pieces=(), attempts=1, **more):
    account = {"phases": [{"attempts": attempts}], "parts_s": {"retry": 0.0, "call": 0.3}}
    return Told(
        question=RIGHT,
        asked_s=asked,
        ended_s=ended,
        status=200,
        text=text,
        pieces_s=list(pieces),
        extra={"account": account},
        **more,
    )


def test_a_death_touches_what_lies_between_it_and_the_recovery() -> None:
    one = death(10.0, 12.0)
    assert one.touches(told(9.0, 10.5))
    assert one.touches(told(11.0, 11.5))
    assert one.touches(told(11.9, 13.0))
    assert one.touches(told(9.0, None)), "it is still under way"
    assert not one.touches(told(8.0, 9.9))
    assert not one.touches(told(12.1, 13.0))


def test_a_reply_is_broken_midway_if_pieces_lie_on_both_sides_and_its_account_says_so() -> None:
    broken = told(9.0, 10.5, pieces=(9.8, 10.2), attempts=2)
    deaths = [death(10.0, 12.0), death(20.0, 21.0)]
    others = [
        told(9.0, 10.5, pieces=(9.8, 10.2)),  # told by another replica
        told(9.0, 10.5, pieces=(10.1, 10.2), attempts=2),  # not yet begun
        told(9.0, 9.9, pieces=(9.5, 9.9), attempts=2),  # over already
    ]
    assert broken_midway(deaths, [broken, *others]) == {0: [broken]}


def test_an_allocator_tells_nobody_anything_and_so_breaks_no_reply() -> None:
    broken = told(9.0, 10.5, pieces=(9.8, 10.2), attempts=2)
    assert broken_midway([death(10.0, 12.0, ALLOCATOR)], [broken]) == {}


def test_the_slowest_turn_is_looked_for_by_kind_of_death() -> None:
    quick, slow, elsewhere = told(10.0, 10.1), told(10.0, 10.9), told(50.0, 59.0)
    deaths = [death(10.0, 12.0, ALLOCATOR), death(20.0, 21.0, AGENT)]
    turns = [quick, slow, elsewhere]
    assert slowest(deaths, turns, ALLOCATOR) is slow
    assert slowest(deaths, turns, AGENT) is None
    assert undisturbed_s(deaths, turns) == 9.0


def test_the_longest_recovery_counts() -> None:
    deaths = [death(1.0, 2.0), death(5.0, 8.0), death(9.0, 19.0, AGENT)]
    assert recovery_s(deaths, ENGINE) == 3.0
    assert recovery_s(deaths, ALLOCATOR) == 0.0


def test_a_turn_is_lost_unless_it_is_complete_and_right_word_for_word() -> None:
    turns = [
        told(1.0, 2.0),
        told(1.0, 2.0, text="one two"),
        told(1.0, 2.0, text="one two two three"),
        told(1.0, 2.0, fault="the stream broke off"),
        Told(question=RIGHT, asked_s=1.0, ended_s=2.0, status=503, text="one two three"),
    ]
    found = summary([], turns)
    assert (found["turns"], found["lost"]) == (5, 4)
    assert [wrong["text"] for wrong in found["wrong"]][:2] == ["one two", "one two two three"]


def test_the_summary_says_how_many_half_told_replies_went_on() -> None:
    right = told(9.0, 10.5, pieces=(9.8, 10.2), attempts=2)
    twice = told(9.0, 10.4, text="one one two three", pieces=(9.8, 10.2), attempts=2)
    found = summary([death(10.0, 12.0), death(10.1, 12.0, ALLOCATOR)], [right, twice])
    assert found["killed"] == {AGENT: 0, ENGINE: 1, ALLOCATOR: 1}
    assert found["killed_mid_stream"] == 1
    assert (found["broken_mid_stream"], found["continued_from_prefix"]) == (2, 1)
    assert found["slowest_turn_s"] == 1.5
    assert found["slowest_turn_parts_s"] == {"call": 0.3}
