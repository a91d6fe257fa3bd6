"""The metrics: each says what it counts and in what, their labels are bounded, and they add up."""

from dataclasses import fields, replace
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coordsvc.core.accounting import PARTS, PhaseReport, TurnAccount, TurnResult
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase
from coordsvc.core.policies.catalogue import NAMES
from coordsvc.core.terms import Terms
from coordsvc.core.units import MILLISECOND, AgentId, Micros, NodeId
from coordsvc.telemetry.metrics import (
    COORD_BUCKETS_S,
    TURN_BUCKETS_S,
    Metrics,
    PoolSnapshot,
)

UNITS = {
    "coordsvc_turn_seconds": "in seconds",
    "coordsvc_c_coord_seconds": "in seconds",
    "coordsvc_c_coord_part_seconds": "in seconds",
    "coordsvc_solo_seconds": "in seconds",
    "coordsvc_engine_seconds": "in seconds",
    "coordsvc_turns": "Turns",
    "coordsvc_tokens": "Tokens",
    "coordsvc_alloc": "(gpus, cpus, Gb/s)",
    "coordsvc_capacity": "(gpus, cpus, Gb/s)",
    "coordsvc_offers_open": "Offers",
    "coordsvc_offers": "Offers",
    "coordsvc_phases_waiting": "Phases",
    "coordsvc_allocator_epoch": "how many lives",
    "coordsvc_nodes": "Engine replicas",
    "coordsvc_allocator_refused_events": "messages",
    "coordsvc_broken_reservations": "grants",
    "coordsvc_policy": "1 for the policy",
    "coordsvc_utility": "utility of what",
    "coordsvc_dominant_share": "0 to 1",
    "coordsvc_preempted": "Grants",
    "coordsvc_gangs_waiting": "Gangs",
    "coordsvc_limits_met": "How often",
    "coordsvc_decision_log_lines": "Lines",
    "coordsvc_decision_log_lost": "Events",
}
"""What each metric is in: the words with which its help text says so. A new one belongs here."""

LABELS = {
    "agents": {"1", "2", "3"},
    "agent": {PLANNER, RESPONDER, CHECKER},
    "phase": set(Phase),
    "part": set(PARTS),
    "state": {"issued", "voiding", "accepted", "declined", "expired", "rescinded", "released"},
    "resource": {"gpu", "cpu", "bandwidth"},
    "outcome": {"answered", "gave_up", "refused", "failed", "check_lost"},
    "kind": {"prompt", "cached", "output"},
    "policy": set(NAMES),
    "limit": {one.name for one in fields(Terms)},
}
"""All that a label may say: nothing that grows with the number of turns."""


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
    *phases: PhaseReport, wall_ms: int = 200, solo_ms: int = 150, **changes: Any
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


def exposed(metrics: Metrics) -> dict[str, Any]:
    """Return the families of the exposition, as Prometheus would read it."""
    text = generate_latest(metrics.registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def shown() -> Metrics:
    """Metrics of which each has been seen."""
    metrics = Metrics()
    metrics.turn(turn(PLAN, RESPOND, CHECK))
    metrics.outcome("refused")
    metrics.pool(SNAPSHOT)
    return metrics


# What they are


def test_every_metric_says_what_it_counts_and_in_what() -> None:
    families = exposed(shown())
    ours = {name for name in families if not name.endswith("_created")}
    assert ours == set(UNITS)
    for name, unit in UNITS.items():
        said = families[name].documentation
        assert unit in said, name
        assert said[0].isupper() or said.startswith(("alloc_i", "u_i", "1 for")), name
        assert said.endswith("."), name
        assert name.endswith("_seconds") == (unit == "in seconds"), name
    assert len({families[name].documentation for name in UNITS}) == len(UNITS)


def test_every_metric_is_there_before_anything_has_happened() -> None:
    assert set(UNITS) <= set(exposed(Metrics()))


def test_the_pool_is_shown_as_it_was_told() -> None:
    metrics = shown()
    assert value(metrics, "coordsvc_policy", policy="utility") == 1
    assert value(metrics, "coordsvc_utility", agent="planner") == 1.5
    assert value(metrics, "coordsvc_dominant_share", agent="responder") == 0.2
    assert value(metrics, "coordsvc_preempted") == 3
    assert value(metrics, "coordsvc_gangs_waiting") == 2
    assert value(metrics, "coordsvc_limits_met", limit="gangs_max") == 5
    metrics.pool(replace(SNAPSHOT, policy="slack", utility={}))
    assert value(metrics, "coordsvc_policy", policy="utility") == 0
    assert value(metrics, "coordsvc_policy", policy="slack") == 1
    assert value(metrics, "coordsvc_utility", agent="planner") == 0


def test_labels_are_bounded() -> None:
    for family in exposed(shown()).values():
        for sample in family.samples:
            for label, said in sample.labels.items():
                assert label == "le" or said in LABELS[label], sample


def test_a_thousand_turns_take_as_many_series_as_one() -> None:
    metrics = shown()
    before = sum(len(family.samples) for family in exposed(metrics).values())
    for number in range(1_000):
        metrics.turn(turn(PLAN, RESPOND, CHECK, text=f"reply {number}", wall_ms=150 + number))
    assert sum(len(family.samples) for family in exposed(metrics).values()) == before


def test_parts_and_outcomes_that_never_happened_are_shown_as_none() -> None:
    metrics = Metrics()
    for part in PARTS:
        assert value(metrics, "coordsvc_c_coord_part_seconds_total", part=part) == 0
    for outcome in LABELS["outcome"]:
        assert value(metrics, "coordsvc_turns_total", outcome=outcome) == 0


def test_buckets_have_an_edge_where_something_is_decided() -> None:
    """The p95 target of three agents, and the C_coord at which placement groups grow."""
    assert 0.25 in TURN_BUCKETS_S
    assert sum(1 for edge in TURN_BUCKETS_S if 0.2 <= edge <= 0.3) >= 5
    assert 0.5 in COORD_BUCKETS_S
    for edges in (TURN_BUCKETS_S, COORD_BUCKETS_S):
        assert list(edges) == sorted(set(edges))


def test_two_applications_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.outcome("failed")
    assert value(one, "coordsvc_turns_total", outcome="failed") == 1
    assert value(other, "coordsvc_turns_total", outcome="failed") == 0


# Turns


def test_a_turn_is_counted_once_everywhere() -> None:
    metrics = Metrics()
    metrics.turn(turn(PLAN, RESPOND, CHECK, wall_ms=240, solo_ms=150))
    assert value(metrics, "coordsvc_turns_total", outcome="answered") == 1
    assert value(metrics, "coordsvc_turn_seconds_count", agents="3") == 1
    assert value(metrics, "coordsvc_turn_seconds_sum", agents="3") == pytest.approx(0.240)
    assert value(metrics, "coordsvc_turn_seconds_bucket", agents="3", le="0.225") == 0
    assert value(metrics, "coordsvc_turn_seconds_bucket", agents="3", le="0.25") == 1
    assert value(metrics, "coordsvc_c_coord_seconds_sum", agents="3") == pytest.approx(0.090)
    assert value(metrics, "coordsvc_solo_seconds_total") == pytest.approx(0.150)


def test_turns_of_two_and_three_agents_are_told_apart() -> None:
    metrics = Metrics()
    metrics.turn(turn(PLAN, RESPOND))
    metrics.turn(turn(PLAN, RESPOND, CHECK, report(Phase.REVISE, RESPONDER)))
    assert value(metrics, "coordsvc_turn_seconds_count", agents="2") == 1
    assert value(metrics, "coordsvc_turn_seconds_count", agents="3") == 1


def test_parts_add_up_over_turns_and_a_negative_remainder_takes_nothing_away() -> None:
    metrics = Metrics()
    metrics.turn(turn(wall_ms=200, solo_ms=150))
    metrics.turn(turn(wall_ms=300, solo_ms=150))
    waited = value(metrics, "coordsvc_c_coord_part_seconds_total", part="offer_wait")
    assert waited == pytest.approx(0.055 + 0.155)
    assert value(metrics, "coordsvc_c_coord_part_seconds_total", part="unexplained") == 0


def test_engine_time_and_tokens_are_counted_by_agent() -> None:
    metrics = Metrics()
    metrics.turn(turn(PLAN, RESPOND, CHECK, report(Phase.REVISE, RESPONDER)))
    engine = {
        phase: value(metrics, "coordsvc_engine_seconds_total", agent=agent, phase=phase)
        for phase, agent in (
            ("respond", "responder"),
            ("revise", "responder"),
            ("check", "checker"),
        )
    }
    assert engine == pytest.approx({"respond": 0.09, "revise": 0.09, "check": 0.03})
    tokens = {
        kind: value(metrics, "coordsvc_tokens_total", agent="responder", kind=kind)
        for kind in LABELS["kind"]
    }
    assert tokens == {"prompt": 80, "cached": 50, "output": 8}


def test_how_a_turn_ended_is_counted_by_its_end() -> None:
    metrics = Metrics()
    metrics.turn(turn(gave_up=True))
    metrics.outcome("refused")
    metrics.outcome("refused")
    assert value(metrics, "coordsvc_turns_total", outcome="gave_up") == 1
    assert value(metrics, "coordsvc_turns_total", outcome="answered") == 0
    assert value(metrics, "coordsvc_turns_total", outcome="refused") == 2


# The pool


def test_the_pool_is_shown_in_whole_resources() -> None:
    metrics = shown()
    assert value(metrics, "coordsvc_alloc", agent="planner", resource="cpu") == 2.5
    assert value(metrics, "coordsvc_capacity", resource="bandwidth") == 1.5
    assert value(metrics, "coordsvc_offers_open", agent="planner", state="issued") == 3
    assert value(metrics, "coordsvc_offers_total", agent="planner", state="released") == 7
    assert value(metrics, "coordsvc_phases_waiting", agent="responder") == 2
    assert value(metrics, "coordsvc_allocator_epoch") == 1
    assert value(metrics, "coordsvc_nodes") == 2
    assert value(metrics, "coordsvc_allocator_refused_events") == 4
    assert value(metrics, "coordsvc_broken_reservations") == 1


def ended(metrics: Metrics) -> float | None:
    return value(metrics, "coordsvc_offers_total", agent="planner", state="released")


def test_an_ended_offer_is_counted_once_however_often_it_is_told() -> None:
    metrics = shown()
    metrics.pool(SNAPSHOT)
    assert ended(metrics) == 7
    metrics.pool(replace(SNAPSHOT, ended_offers={("planner", "released"): 9}))
    assert ended(metrics) == 9


def test_a_new_allocator_counts_from_none_and_the_total_goes_on() -> None:
    metrics = shown()
    metrics.pool(replace(SNAPSHOT, epoch=2, ended_offers={}))
    metrics.pool(replace(SNAPSHOT, epoch=2, ended_offers={("planner", "released"): 2}))
    assert ended(metrics) == 9


def test_an_allocator_whose_time_is_over_is_not_listened_to() -> None:
    """It may still live where nobody can stop it; what it says would be counted again and again."""
    metrics = shown()
    for _ in range(3):
        metrics.pool(replace(SNAPSHOT, epoch=2, nodes=1))
        metrics.pool(SNAPSHOT)
    assert value(metrics, "coordsvc_allocator_epoch") == 2
    assert value(metrics, "coordsvc_nodes") == 1
    assert ended(metrics) == 14


def test_what_is_no_longer_told_of_is_shown_as_none() -> None:
    """All replicas of an agent are gone: what they held and waited for is not theirs any more."""
    metrics = shown()
    metrics.pool(PoolSnapshot(epoch=1, nodes=0))
    assert value(metrics, "coordsvc_alloc", agent="planner", resource="cpu") == 0
    assert value(metrics, "coordsvc_capacity", resource="cpu") == 0
    assert value(metrics, "coordsvc_offers_open", agent="planner", state="issued") == 0
    assert value(metrics, "coordsvc_phases_waiting", agent="responder") == 0
    assert ended(metrics) == 7
