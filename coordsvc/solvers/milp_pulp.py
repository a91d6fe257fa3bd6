"""The linear program by PuLP and the CBC that it brings: the tools that the claim names.

CBC limits itself by the clock. PuLP calls what it stopped at "Optimal" as well; what is proven
stands in `sol_status`. CBC's bound is not told, so a plan that is not proven has no gap.

It runs in a process of its own; `apart` says why.
"""

from math import isfinite

from coordsvc.core.errors import BadRequest
from coordsvc.solvers.apart import apart
from coordsvc.solvers.cp_sat import Planning
from coordsvc.solvers.instance import Instance, Schedule
from coordsvc.solvers.milp import Program, program, schedule, start


def plan(
    instance: Instance, baseline: Schedule, *, seconds: float = 60.0, grain: int = 1
) -> Planning:
    """Return the best plan found; the baseline itself when CBC ends with none.

    `BadRequest` says that the experiments extra is missing.
    """
    made = program(instance, baseline, grain=grain)
    begin = start(made, instance, baseline)
    values, status = apart(_solve, made, begin, seconds)
    return Planning(
        schedule=baseline if values is None else schedule(made, values),
        status=status,
        gap=0.0 if status == "OPTIMAL" else None,
    )


def _solve(made: Program, begin: list[float], seconds: float) -> tuple[list[float] | None, str]:
    try:
        import pulp  # noqa: PLC0415 - an optional extra
    except ImportError as missing:
        raise BadRequest("this solver needs the experiments extra (pulp)") from missing
    problem = pulp.LpProblem("schedule", pulp.LpMinimize)
    variables = [pulp.LpVariable(f"b{number}", cat="Binary") for number in range(made.binaries)]
    for number, (low, high) in enumerate(made.limits):
        variables.append(pulp.LpVariable(f"c{number}", low, high if isfinite(high) else None))
    problem += pulp.lpSum(cost * variables[number] for number, cost in made.costs.items())
    for line in made.lines:
        total = pulp.lpSum(weight * variables[number] for number, weight in line.weights.items())
        if line.low == line.high:
            problem += total == line.low
        elif isfinite(line.low):
            problem += total >= line.low
        else:
            problem += total <= line.high
    for variable, value in zip(variables, begin, strict=True):
        variable.setInitialValue(value)
    # one thread, and gaps below which plans differ in nothing
    solver = pulp.PULP_CBC_CMD(
        msg=False, threads=1, timeLimit=seconds, warmStart=True, gapRel=0.0, gapAbs=1e-6
    )
    problem.solve(solver)
    if problem.sol_status not in {pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible}:
        return None, "UNKNOWN"
    proven = problem.sol_status == pulp.LpSolutionOptimal
    values = [float(variable.value() or 0.0) for variable in variables]
    return values, "OPTIMAL" if proven else "FEASIBLE"
