"""What metrics are told of, for their tests: turns, and a pool."""

from typing import Any

from prometheus_client import CollectorRegistry

from coordsvc.core.accounting import PARTS, PhaseParts, PhaseReport, TurnAccount, TurnResult
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase
from coordsvc.core.units import MILLISECOND, AgentId, Micros, NodeId
from coordsvc.telemetry.pool import PoolSnapshot


def report(phase: Phase, agent: AgentId, **changes: int) -> PhaseReport:
    usual = {
        "agent_us": 100_000,
        "queue_us": 10_000,
        "compute_us": 80_000,
        "prompt_tokens": 40,
        "cached_tokens": 25,
        "output_tokens": 4,
    }
    return PhaseReport(phase=phase, agent=agent, node=NodeId("n1"), **(usual | changes))


PLAN = report(Phase.PLAN, PLANNER)
RESPOND = report(Phase.RESPOND, RESPONDER)
CHECK = report(Phase.CHECK, CHECKER, compute_us=20_000)


def turn(
    *phases: PhaseReport,
    wall_ms: int = 200,
    solo_ms: int = 150,
    split: tuple[PhaseParts, ...] = (),
    **changes: Any,
) -> TurnResult:
    parts = dict.fromkeys(PARTS, Micros(0)) | {
        "offer_wait": Micros((wall_ms - solo_ms + 5) * MILLISECOND),
        "unexplained": Micros(-5 * MILLISECOND),
    }
    account = TurnAccount(
        wall_us=Micros(wall_ms * MILLISECOND),
        solo_us=Micros(solo_ms * MILLISECOND),
        engine_us=Micros(0),
        parts=parts,
        phases=split,
    )
    usual: dict[str, Any] = {
        "text": "All is well.",
        "finish": "stop",
        "prompt_tokens": 80,
        "output_tokens": 8,
        "reply_tokens": 4,
        "verdict": None,
        "gave_up": False,
        "account": account,
        "phases": phases or (PLAN, RESPOND),
    }
    return TurnResult(**(usual | changes))


SNAPSHOT = PoolSnapshot(
    epoch=1,
    nodes=2,
    capacity={"gpu": 0, "cpu": 6_000, "bandwidth": 1_500},
    alloc={("planner", "cpu"): 2_500, ("responder", "cpu"): 1_000},
    tenant_alloc={("research", "cpu"): 500},
    open_offers={("planner", "issued"): 3, ("planner", "accepted"): 1},
    ended_offers={("planner", "released"): 7},
    refused_events=4,
    broken_reservations=1,
    waiting={"planner": 0, "responder": 2},
    policy="utility",
    utility={"planner": 1.5, "responder": 0.5},
    share={"planner": 0.4, "responder": 0.2},
    preempted=3,
    gangs_waiting=2,
    limits_met={"gangs_max": 5},
)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)
