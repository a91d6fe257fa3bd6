"""What makes a problem that can be scheduled."""

from dataclasses import replace

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.solvers.instance import Instance

PAIR = Instance(
    edges=((0, 1),), releases=(0,), durations=((2,), (3,)), demands=(1, 1), capacity=1, messages=1
)


def test_each_edge_sends_one_message_a_round() -> None:
    twice = replace(PAIR, releases=(0, 4), durations=((2, 1), (3, 3)))
    assert twice.sends == [(0, 1, 0), (0, 1, 1)]
    assert twice.duration((0, 1)) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"demands": (1, 2)}, "needs 2 GPUs of 1"),
        ({"messages": 0}, "messages is 0"),
        ({"durations": ((2,), (0,))}, "1 step or more"),
        ({"durations": ((2,),)}, "same agents"),
        ({"edges": ((1, 0),)}, "higher number"),
        ({"releases": ()}, "at least one"),
    ],
)
def test_a_problem_without_a_schedule_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        replace(PAIR, **wrong)
