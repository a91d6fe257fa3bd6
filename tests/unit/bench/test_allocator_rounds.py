"""A round of max-min shares as a linear programme."""

from importlib.util import find_spec

import numpy as np
import pytest

from coordsvc.bench.allocator_pool import pool
from coordsvc.bench.allocator_rounds import Round, round_of, solve
from coordsvc.core.allocator import Allocator
from coordsvc.core.units import Epoch
from coordsvc.solvers.apart import apart


def two_agents(free_gpu: float) -> Round:
    """Return a round with one class of nodes; the second agent holds much already."""
    return Round(
        free=np.array([[free_gpu, 10.0, 10.0]]),
        bundles=np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]),
        held=np.array([0.0, 0.5]),
        grows=np.array([0.1, 0.1]),
        may=np.array([[True], [True]]),
    )


def solved(told: Round) -> tuple[int, float]:
    """What HiGHS says, in a process of its own: it cannot be where OR-tools is."""
    if find_spec("highspy") is None:
        pytest.skip("the experiments extra is not installed")
    return apart(solve, told)


def test_where_there_is_room_for_all_each_agent_gets_its_bundle() -> None:
    placed, took_us = solved(two_agents(free_gpu=5.0))
    assert placed == 2
    assert took_us > 0


def test_where_there_is_room_for_one_only_one_is_placed() -> None:
    assert solved(two_agents(free_gpu=1.0))[0] == 1


def test_an_agent_gets_nothing_where_its_filter_does_not_suit() -> None:
    told = two_agents(free_gpu=5.0)
    told.may[0, 0] = False
    assert solved(told)[0] == 1


def test_a_round_sees_classes_of_nodes_and_what_is_free_there() -> None:
    core = Allocator(Epoch("bench", 1))
    pool(60, 20, core).join()
    told = round_of(core)
    assert told.free.sum(axis=0).tolist() == list(core.ledger.total.amounts())
    assert told.may.shape == (20, len(core.ledger.rooms.shelves))
    assert told.held.tolist() == [0.0] * 20
    assert (told.grows > 0).all()
