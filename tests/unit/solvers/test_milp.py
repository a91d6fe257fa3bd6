"""The linear program: what it starts from, and what it reads off."""

from dataclasses import replace

import pytest

from coordsvc.solvers.baselines import Offers
from coordsvc.solvers.execute import execute
from coordsvc.solvers.generator import Shape, generate
from coordsvc.solvers.instance import Instance, Schedule
from coordsvc.solvers.milp import Program, program, schedule, start
from coordsvc.solvers.regret import totals, variance
from tests.unit.solvers.test_regret import CHAIN, PLAYED

# One after the other: 0 works 0-2 and 6-8, 1 works 3-6 and 9-10.
SERIAL = Schedule(
    starts={(0, 0): 0, (0, 1): 6, (1, 0): 3, (1, 1): 9}, sent={(0, 1, 0): 2, (0, 1, 1): 8}
)


def broken(made: Program, values: list[float]) -> int:
    """Return how many lines the values break."""
    sums = [sum(values[n] * w for n, w in line.weights.items()) for line in made.lines]
    return sum(
        not line.low - 1e-9 <= total <= line.high + 1e-9
        for line, total in zip(made.lines, sums, strict=True)
    )


def test_a_schedule_goes_into_values_and_comes_back() -> None:
    made = program(CHAIN, PLAYED)
    assert schedule(made, start(made, CHAIN, PLAYED)) == PLAYED


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_baseline_keeps_every_line_and_its_squares_are_its_variance(seed: int) -> None:
    instance = generate(Shape(rounds=2), seed)
    baseline = execute(instance, Offers())
    made = program(instance, baseline)
    values = start(made, instance, baseline)
    assert broken(made, values) == 0
    squares = [values[square] for _, square in made.distances]
    assert sum(squares) / len(squares) == pytest.approx(variance(totals(instance, baseline)))


@pytest.mark.parametrize(
    ("starts", "sent"),
    [
        ({(1, 0): 2}, {}),
        ({}, {(0, 1, 0): 1}),
        ({(0, 1): 1}, {}),
        ({(0, 1): 5}, {}),
    ],
    ids=["before arrival", "before the finish", "twice at once", "no GPU free"],
)
def test_a_schedule_that_breaks_the_instance_breaks_a_line(
    starts: dict[tuple[int, int], int], sent: dict[tuple[int, int, int], int]
) -> None:
    # with two GPUs only the agent's own work is in its way
    capacity = 2 if starts == {(0, 1): 1} else 1
    made = program(replace(CHAIN, capacity=capacity), SERIAL)
    moved = Schedule(starts={**SERIAL.starts, **starts}, sent={**SERIAL.sent, **sent})
    values = start(made, CHAIN, SERIAL)
    for each, steps in made.steps.items():
        when = moved.starts[each] if len(each) == 2 else moved.sent[each]
        for step, number in steps.items():
            values[number] = float(step == when)
    binaries = [line for line in made.lines if max(line.weights) < made.binaries]
    assert broken(Program(lines=binaries), values) > 0


def test_a_coarser_grain_has_fewer_lines() -> None:
    instance = Instance(
        edges=(),
        releases=(0, 0),
        durations=((2, 2), (1, 1)),
        demands=(1, 1),
        capacity=1,
        messages=1,
    )
    baseline = execute(instance, Offers())
    fine, coarse = program(instance, baseline), program(instance, baseline, grain=3)
    assert len(coarse.lines) < len(fine.lines)
