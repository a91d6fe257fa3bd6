"""The linear program by HiGHS: a second opinion on CP-SAT's optimum, for small instances.

HiGHS limits itself by the clock. Only a plan that it proved best repeats on another machine.

It runs in a process of its own; `apart` says why.
"""

from typing import Any

from coordsvc.core.errors import BadRequest
from coordsvc.solvers.apart import apart
from coordsvc.solvers.cp_sat import Planning
from coordsvc.solvers.instance import Instance, Schedule
from coordsvc.solvers.milp import Program, program, schedule, start


def plan(
    instance: Instance, baseline: Schedule, *, seconds: float = 60.0, grain: int = 1
) -> Planning:
    """Return the best plan found, the baseline at worst; it starts from there.

    `BadRequest` says that the experiments extra is missing.
    """
    made = program(instance, baseline, grain=grain)
    begin = start(made, instance, baseline)
    values, status, gap = apart(_solve, made, begin, seconds)
    found = baseline if values is None else schedule(made, values)
    return Planning(schedule=found, status=status, gap=gap)


def _solve(
    made: Program, begin: list[float], seconds: float
) -> tuple[list[float] | None, str, float | None]:
    try:
        import highspy  # noqa: PLC0415 - an optional extra
    except ImportError as missing:
        raise BadRequest("this solver needs the experiments extra (highspy)") from missing
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.silent()
    # its own gaps would call plans best that differ in the mean only
    options = {"threads": 1, "random_seed": 0, "time_limit": seconds}
    for name, value in {**options, "mip_rel_gap": 0.0, "mip_abs_gap": 1e-6}.items():
        solver.setOptionValue(name, value)
    for number in range(made.binaries):
        solver.addVar(0.0, 1.0)
        solver.changeColIntegrality(number, highspy.HighsVarType.kInteger)
    for low, high in made.limits:
        solver.addVar(low, high)
    for number, cost in made.costs.items():
        solver.changeColCost(number, cost)
    for line in made.lines:
        columns, weights = list(line.weights), list(line.weights.values())
        solver.addRow(line.low, line.high, len(columns), columns, weights)
    solver.setSolution(len(begin), list(range(len(begin))), begin)
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None, "UNKNOWN", None
    values = [float(value) for value in solver.getSolution().col_value]
    if solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
        return values, "OPTIMAL", 0.0
    return values, "FEASIBLE", float(info.mip_gap)
