"""What one run came to. Whole numbers are exact; ratios are of whole numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coordsvc.core.fleet import States, measures
from coordsvc.core.units import SECOND, AgentId, Micros
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.turns import LiveTurn
from coordsvc.simulation.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The fleet's view between the marks; None where no turn ended, or nothing was computed."""

    slots: float
    """Slots that there were, on average."""
    states: dict[str, int]
    """Slot-microseconds in each of the five states; their sum is slots times time."""
    utilisation: float
    s_scale: float
    c_algo_us: float | None
    c_coord_us: float | None
    """Of one turn; T/N = C_algo/S_scale + C_coord."""
    c_baseline_us: float | None
    """Mean engine time, alone, on a node of speed 1, of the turns that ended between the marks."""
    s_measured: float | None
    s_ideal: float | None
    """C_baseline * slots / C_algo: all slots compute, all the time."""
    of_ideal: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run. All is the same for the same settings, on any machine."""

    turns: int
    """That arrived, at any time."""
    finished: int
    unfinished: int
    measured: int
    """Arrived between the marks: those that latencies and deadlines are told of."""
    turns_per_s: float
    """That ended between the marks, whenever they arrived."""
    mean_us: int | None
    p50_us: int | None
    p95_us: int | None
    p99_us: int | None
    """None where so many never ended that nobody knows."""
    in_time: float | None
    """Part of the measured that met their deadline."""
    fairness: float | None
    """Jain's index over tenants' (else agents') dominant shares, each averaged over time."""
    shares: dict[str, float]
    """Of the pool, on average, by tenant or agent; offers count as held."""
    tenants_mean_us: dict[str, int]
    """Mean latency, by tenant."""
    fleet: Fleet
    attempts: int
    """Phases begun under a grant."""
    attempts_lost: int
    """Of them, those that had to be begun again."""
    events_refused: int
    epochs: int
    broken_reservations: int
    core_calls: dict[str, int]
    """What allocator, desks, guards and dialogues were told: what a simulation is made of."""

    def as_dict(self) -> dict[str, Any]:
        """Return the same, ready for JSON."""
        return asdict(self)


def result_of(world: World) -> Result:
    """Return what a world's run came to."""
    settings = world.settings
    warm, end = settings.warm_us, settings.lasts_us
    measured = [turn for turn in world.turns if warm <= turn.arrived < end]
    known = sorted(_latency(turn) for turn in measured if turn.ended is not None)
    in_time = sum(1 for t in measured if t.ended is not None and t.ended <= t.deadline)
    ended = [t for t in world.turns if t.ended is not None and warm <= t.ended < end]
    shares = _shares(world)
    return Result(
        turns=len(world.turns),
        finished=sum(1 for turn in world.turns if turn.ended is not None),
        unfinished=world.unfinished(),
        measured=len(measured),
        turns_per_s=len(ended) * SECOND / (end - warm),
        mean_us=sum(known) // len(known) if known and len(known) == len(measured) else None,
        p50_us=percentile(known, len(measured), 50),
        p95_us=percentile(known, len(measured), 95),
        p99_us=percentile(known, len(measured), 99),
        in_time=in_time / len(measured) if measured else None,
        fairness=jain(tuple(shares.values())),
        shares={name: held / max(1, _slot_time(world)) for name, held in shares.items()},
        tenants_mean_us=_tenants_mean(measured),
        fleet=_fleet(settings, _between(world), ended),
        attempts=sum(turn.attempts for turn in world.turns),
        attempts_lost=world.attempts_lost,
        events_refused=world.allocator.refused,
        epochs=world.allocator.epochs,
        broken_reservations=world.broken_reservations(),
        core_calls=world.core_calls(),
    )


def percentile(known: Sequence[int], count: int, percent: int) -> int | None:
    """Return the nearest-rank percentile of `count` latencies.

    `known` are the smallest of them, in order; the others never ended, and are longer than all.
    """
    if count == 0:
        return None
    rank = -(-count * percent // 100)
    return known[rank - 1] if rank <= len(known) else None


def jain(shares: Sequence[int]) -> float | None:
    """Return (sum x)**2 / (n * sum x**2): 1 when all are equal, 1/n when one has all.

    Jain, Chiu and Hawe, DEC-TR-301, 1984. None where nobody has anything.
    """
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else None


def _latency(turn: LiveTurn) -> Micros:
    assert turn.ended is not None
    return Micros(turn.ended - turn.arrived)


def _between(world: World) -> States:
    return world.marks[1][0].minus(world.marks[0][0])


def _slot_time(world: World) -> int:
    return _between(world).total


def _shares(world: World) -> dict[str, int]:
    """Return bundle-microseconds held between the marks, by tenant, or by agent without any."""
    before, after = world.marks[0][1], world.marks[1][1]
    held: dict[str, int] = {}
    for agent in world.workload.agents:
        name = _whose(agent)
        held[name] = held.get(name, 0) + after[agent] - before[agent]
    return held


def _whose(agent: AgentId) -> str:
    return str(agent).split("/", maxsplit=1)[0]


def _tenants_mean(measured: Sequence[LiveTurn]) -> dict[str, int]:
    by_tenant: dict[str, list[Micros]] = {}
    for turn in measured:
        if turn.turn.tenant and turn.ended is not None:
            by_tenant.setdefault(turn.turn.tenant, []).append(_latency(turn))
    return {name: sum(them) // len(them) for name, them in sorted(by_tenant.items())}


def _fleet(settings: SimSettings, states: States, ended: Sequence[LiveTurn]) -> Fleet:
    found = measures(
        states,
        lasts_us=settings.lasts_us - settings.warm_us,
        turns=len(ended),
        baseline_us=sum(turn.turn.cost_us for turn in ended),
        whole=1,
    )
    return Fleet(
        slots=found.accelerators,
        states=states.as_dict(),
        utilisation=states.computing / states.total if states.total else 0.0,
        s_scale=found.s_scale,
        c_algo_us=found.c_algo_us,
        c_coord_us=found.c_coord_us,
        c_baseline_us=found.c_baseline_us,
        s_measured=found.s_measured,
        s_ideal=found.s_ideal,
        of_ideal=found.of_ideal,
    )
