"""Max-min dominant shares by a linear programme per round, to compare with.

The optimiser sees what schedulers of this kind see: classes of nodes, not nodes. A round has one
new phase for each agent. Variables x[i, c] say how many bundles agent i gets in class c:

    maximise   M t + sum of what dominant shares grow by
    subject to what is held and placed of each class's free amounts, x summed over c at most 1,
               share of i >= t for every i

That is one programme a round, with HiGHS's default. Exact lexicographic max-min would need one for
each level of shares, and rounding and placing on nodes come on top: the comparison favours it.
"""

import importlib
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np

from coordsvc.core.allocator import Allocator
from coordsvc.core.resources import Resources

LEVEL_WEIGHT = 1e3
"""M: the smallest share counts far more than the sum."""
WHOLE = 1 - 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round is told: arrays over agents, classes and resources."""

    free: np.ndarray[Any, np.dtype[np.float64]]
    """Classes by resources."""
    bundles: np.ndarray[Any, np.dtype[np.float64]]
    """Agents by resources."""
    held: np.ndarray[Any, np.dtype[np.float64]]
    """Dominant shares, by agent."""
    grows: np.ndarray[Any, np.dtype[np.float64]]
    """What a dominant share grows by with one bundle, by agent."""
    may: np.ndarray[Any, np.dtype[np.bool_]]
    """Agents by classes: whether the agent's filter suits it."""


def round_of(core: Allocator) -> Round:
    """Return a round on what is free in a pool now."""
    shelves = list(core.ledger.rooms.shelves.values())
    desks = list(core.desks.values())
    total = np.array(core.ledger.total.amounts(), dtype=float)
    bundles = np.array([desk.bundle.amounts() for desk in desks], dtype=float)
    held = np.array([core.ledger.held_by(desk.agent).amounts() for desk in desks], dtype=float)
    free = [
        sum((part.free for part in shelf.parts if part is not None), start=Resources()).amounts()
        for shelf in shelves
    ]
    may = [[desk.where.suits(shelf.attributes) for shelf in shelves] for desk in desks]
    return Round(
        free=np.array(free, dtype=float),
        bundles=bundles,
        held=(held / total).max(axis=1),
        grows=(bundles / total).max(axis=1),
        may=np.array(may),
    )


def solve(told: Round) -> tuple[int, float]:
    """Solve one round; return how many bundles it places, and the microseconds that it took.

    Raises:
        ImportError: highspy is not installed.

    """
    highs = importlib.import_module("highspy")
    solver = highs.Highs()
    solver.setOptionValue("output_flag", False)  # noqa: FBT003 - highspy has no keywords
    began = perf_counter_ns()
    agent, place = np.nonzero(told.may)
    solver.passModel(_model(highs, told, agent, place))
    solver.run()
    x = np.array(solver.getSolution().col_value)[:-1]
    placed = np.bincount(agent, weights=x, minlength=len(told.held))
    took_us = (perf_counter_ns() - began) / 1_000
    return int((placed >= WHOLE).sum()), took_us


def _model(highs: Any, told: Round, agent: Any, place: Any) -> Any:
    """Return the programme; its columns are the pairs (agent, place) that may be, and last t."""
    agents, (classes, resources) = len(told.held), told.free.shape
    pairs = np.arange(len(agent))
    rows: list[Any] = []
    columns: list[Any] = []
    values: list[Any] = []
    for r in range(resources):
        rows.append(place * resources + r)
        columns.append(pairs)
        values.append(told.bundles[agent, r])
    wants, shares = classes * resources, classes * resources + agents
    rows += [wants + agent, shares + agent, shares + np.arange(agents)]
    columns += [pairs, pairs, np.full(agents, len(pairs))]
    values += [np.ones(len(pairs)), told.grows[agent], np.full(agents, -1.0)]
    row, column, value = (np.concatenate(part) for part in (rows, columns, values))
    order = np.lexsort((row, column))
    programme = highs.HighsLp()
    programme.num_col_, programme.num_row_ = len(pairs) + 1, shares + agents
    programme.sense_ = highs.ObjSense.kMaximize
    programme.col_cost_ = np.append(told.grows[agent], LEVEL_WEIGHT)
    programme.col_lower_ = np.zeros(len(pairs) + 1)
    programme.col_upper_ = np.ones(len(pairs) + 1)
    below = np.full(shares, -highs.kHighsInf)
    programme.row_lower_ = np.concatenate([below, -told.held])
    most = np.concatenate([told.free.ravel(), np.ones(agents)])
    programme.row_upper_ = np.concatenate([most, np.full(agents, highs.kHighsInf)])
    programme.a_matrix_.format_ = highs.MatrixFormat.kColwise
    starts = np.searchsorted(column[order], np.arange(len(pairs) + 2))
    programme.a_matrix_.start_ = starts
    programme.a_matrix_.index_ = row[order]
    programme.a_matrix_.value_ = value[order]
    return programme
