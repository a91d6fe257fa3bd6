"""The plan of least regret variance by CP-SAT, which squares exactly.

Three rules keep it honest: no agent's regret may grow over the baseline (no levelling down), the
makespan stays in the band of 5 % of utilisation, and the baseline schedule is the first hint. The
mean rule follows from the first. Equal variances are told apart by the smaller mean.

One worker, a fixed seed and a limit in deterministic time: the same input gives the same plan.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordsvc.core.errors import BadRequest
from coordsvc.solvers.instance import Instance, Message, Operation, Schedule
from coordsvc.solvers.regret import band, isolated, totals

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """A plan, and how sure the solver is of it. The gap is of the objective.

    It is 0 when proven, and None when the solver does not tell.
    """

    schedule: Schedule
    status: str
    gap: float | None


def plan(instance: Instance, baseline: Schedule, *, effort: float = 10.0) -> Planning:
    """Return the best plan found; the baseline itself when the solver ends with none.

    Effort is CP-SAT's deterministic time, in its own units of about a second. `BadRequest` says
    that the experiments extra is missing.
    """
    try:
        from ortools.sat.python import cp_model  # noqa: PLC0415 - an optional extra
    except ImportError as missing:
        raise BadRequest(
            f"the message schedule needs the experiments extra (ortools): {missing}"
        ) from missing
    model = cp_model.CpModel()
    starts, sent = _feasible(model, instance, baseline)
    _objective(model, instance, baseline, starts)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = effort
    status = solver.solve(model)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return Planning(schedule=baseline, status=solver.status_name(status), gap=1.0)
    value, bound = solver.objective_value, solver.best_objective_bound
    return Planning(
        schedule=Schedule(
            starts={each: solver.value(variable) for each, variable in starts.items()},
            sent={each: solver.value(variable) for each, variable in sent.items()},
        ),
        status=solver.status_name(status),
        gap=(value - bound) / max(1.0, value),
    )


def _feasible(
    model: "cp_model.CpModel", instance: Instance, baseline: Schedule
) -> tuple[dict[Operation, "cp_model.IntVar"], dict[Message, "cp_model.IntVar"]]:
    first = min(instance.releases)
    shortest, longest = band(instance, baseline)
    end = first + longest
    starts = {
        (i, k): model.new_int_var(
            instance.releases[k], end - instance.duration((i, k)), f"y{i},{k}"
        )
        for i, k in instance.operations
    }
    sent = {each: model.new_int_var(first, end, f"q{each}") for each in instance.sends}
    runs = {
        each: model.new_fixed_size_interval_var(start, instance.duration(each), f"run{each}")
        for each, start in starts.items()
    }
    for agent in range(len(instance.demands)) if instance.one_at_a_time else ():
        model.add_no_overlap([run for each, run in runs.items() if each[0] == agent])
    model.add_cumulative(
        list(runs.values()), [instance.demands[each[0]] for each in runs], instance.capacity
    )
    if instance.messages is not None and sent:
        slots = [model.new_fixed_size_interval_var(at, 1, f"bus{m}") for m, at in sent.items()]
        model.add_cumulative(slots, [1] * len(slots), instance.messages)
    for (a, b, k), at in sent.items():
        model.add(at >= starts[a, k] + instance.duration((a, k)))
        model.add(starts[b, k] >= at + 1)
    last = model.new_int_var(first + shortest, end, "last")
    ends = [start + instance.duration(each) for each, start in starts.items()]
    model.add_max_equality(last, ends)
    for operation, start in starts.items():
        model.add_hint(start, baseline.starts[operation])
    for message, at in sent.items():
        model.add_hint(at, baseline.sent[message])
    return starts, sent


def _objective(
    model: "cp_model.CpModel",
    instance: Instance,
    baseline: Schedule,
    starts: dict[Operation, "cp_model.IntVar"],
) -> None:
    alone, before = isolated(instance), totals(instance, baseline)
    agents, everything = len(before), sum(before)
    summed = []
    for agent, limit in enumerate(before):
        total = model.new_int_var(0, limit, f"total{agent}")
        ours = [each for each in starts if each[0] == agent]
        shift = sum(instance.duration(each) - alone[each] for each in ours)
        model.add(total == sum(starts[each] for each in ours) + shift)
        summed.append(total)
    squares = []
    reach = agents * everything
    for agent, total in enumerate(summed):
        off = model.new_int_var(-reach, reach, f"off{agent}")
        model.add(off == agents * total - sum(summed))
        square = model.new_int_var(0, reach * reach, f"square{agent}")
        model.add_multiplication_equality(square, [off, off])
        squares.append(square)
    model.minimize((everything + 1) * sum(squares) + sum(summed))
