"""Instances from seeds."""

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.solvers.generator import Shape, generate


def test_a_seed_makes_the_same_instance_again_and_another_seed_another() -> None:
    assert generate(Shape(), 101) == generate(Shape(), 101)
    assert generate(Shape(), 101) != generate(Shape(), 202)


def test_limits_change_nothing_else() -> None:
    narrow, wide = generate(Shape(messages=1), 7), generate(Shape(messages=None), 7)
    assert (narrow.durations, narrow.releases) == (wide.durations, wide.releases)


def test_less_load_leaves_more_time_between_rounds() -> None:
    busy, calm = generate(Shape(load=0.95), 7), generate(Shape(load=0.3), 7)
    assert calm.releases[-1] > busy.releases[-1]


@pytest.mark.parametrize("wrong", [Shape(topology="ring"), Shape(load=0), Shape(rounds=0)])
def test_a_shape_that_makes_no_sense_is_refused(wrong: Shape) -> None:
    with pytest.raises(BadRequest, match="must be"):
        generate(wrong, 1)
