"""A process of its own."""

import os

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.solvers.apart import apart


def refuse(why: str) -> None:
    raise BadRequest(why)


def test_it_is_another_process_and_its_answer_comes_back() -> None:
    assert apart(os.getpid) != os.getpid()
    assert apart(max, [3, 7, 5]) == 7


def test_what_it_raises_is_raised_here() -> None:
    with pytest.raises(BadRequest, match="no such solver"):
        apart(refuse, "no such solver")
