"""The metrics: each says what it counts and in what, their labels are bounded, and they add up."""

from dataclasses import fields
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coordsvc.core.accounting import PARTS
from coordsvc.core.autoscaling import Direction, Reason
from coordsvc.core.collapse_signs import SIGNS
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase
from coordsvc.core.fleet import NAMES as STATES
from coordsvc.core.policies.catalogue import NAMES
from coordsvc.core.terms import Terms
from coordsvc.core.units import Instant
from coordsvc.telemetry.metrics import Metrics
from coordsvc.telemetry.scaling import ScalingTold
from coordsvc.telemetry.service import Running
from coordsvc.telemetry.turns import REFUSALS
from tests.unit.telemetry.told import CHECK, PLAN, RESPOND, SNAPSHOT, turn, value

HELD = ScalingTold(direction=Direction.HOLD, reason=Reason.STEADY, wanted=2, least=1, most=4)
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
    "coordsvc_decision_log_lag": "Entries",
    "coordsvc_turns_untold": "Turns",
    "coordsvc_requests_refused": "Requests",
    "coordsvc_tenant_alloc": "gpus, cpus, Gb/s",
    "coordsvc_tenant_turns": "Turns",
    "coordsvc_spans_dropped": "Spans",
    "coordsvc_demand": "(gpus, cpus, Gb/s)",
    "coordsvc_filters_active": "Nodes",
    "coordsvc_nodes_draining": "Engine replicas",
    "coordsvc_engine_running": "Phases",
    "coordsvc_engine_waiting": "Requests",
    "coordsvc_allocator_last_word_seconds": "in seconds",
    "coordsvc_share_seconds": "in seconds",
    "coordsvc_fleet_remainder_seconds": "in seconds",
    "coordsvc_accelerators": "Accelerators",
    "coordsvc_baseline_calibrated": "1 where",
    "coordsvc_c_coord_fleet_seconds": "in seconds",
    "coordsvc_c_algo_seconds": "in seconds",
    "coordsvc_c_baseline_seconds": "in seconds",
    "coordsvc_s_scale": "accelerators",
    "coordsvc_s_measured": "S_measured",
    "coordsvc_s_measured_ideal": "S_measured",
    "coordsvc_instruments_start_time_seconds": "in seconds",
    "coordsvc_replicas": "Replicas",
    "coordsvc_collapse_risk": "0 calm",
    "coordsvc_collapse_sign": "1 for each",
    "coordsvc_collapse_time_to_cross_seconds": "in seconds",
    "coordsvc_usl_sigma": "Contention",
    "coordsvc_usl_kappa": "Coherency",
    "coordsvc_usl_best_concurrency": "Turns under way",
    "coordsvc_placement_groups": "Placement groups",
    "coordsvc_scaling_wanted": "Engine replicas",
    "coordsvc_scaling_bound": "Engine replicas",
    "coordsvc_scaling_decisions": "Decisions",
    "coordsvc_scaling_c_coord_seconds": "in seconds",
}
"""What each metric is in: the words with which its help text says so. A new one belongs here."""

LABELS = {
    "mix": {"checker+planner+responder"},
    "agent": {PLANNER, RESPONDER, CHECKER, ""},
    "phase": {*Phase, ""},
    "part": set(PARTS),
    "state": {"issued", "voiding", "accepted", "declined", "expired", "rescinded", "released"}
    | set(STATES)
    | {"created", "pending"},
    "deployment": {"Engine"},
    "tenant": {"research"},
    "sign": set(SIGNS),
    "resource": {"gpu", "cpu", "bandwidth"},
    "outcome": {"answered", "gave_up", "refused", "failed", "check_lost"},
    "kind": {"prompt", "cached", "output"},
    "policy": set(NAMES),
    "limit": {one.name for one in fields(Terms)},
    "bound": {"min", "max"},
    "direction": set(Direction),
    "reason": {*Reason, *REFUSALS},
}
"""All that a label may say: nothing that grows with the number of turns."""


def exposed(metrics: Metrics) -> dict[str, Any]:
    """Return the families of the exposition, as Prometheus would read it."""
    text = generate_latest(metrics.registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def shown() -> Metrics:
    """Metrics of which each has been seen."""
    metrics = Metrics()
    metrics.turn(turn(PLAN, RESPOND, CHECK, tenant="research"))
    metrics.turns.outcome("refused")
    metrics.pool(Instant(0), SNAPSHOT)
    metrics.service.running(Running(replicas={"Engine": 1}))
    metrics.scaling.decided(HELD)
    return metrics


# What they are


def test_every_metric_says_what_it_counts_and_in_what() -> None:
    families = exposed(shown())
    ours = {name for name in families if not name.endswith("_created")}
    assert ours == set(UNITS)
    for name, unit in UNITS.items():
        said = families[name].documentation
        assert unit in said, name
        assert said[0].isupper() or said.startswith(("alloc_i", "u_i", "1 ")), name
        assert said.endswith("."), name
        assert name.endswith("_seconds") == (unit == "in seconds"), name
    assert len({families[name].documentation for name in UNITS}) == len(UNITS)


def test_every_metric_is_there_before_anything_has_happened() -> None:
    assert set(UNITS) <= set(exposed(Metrics()))


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


def test_two_applications_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.turns.outcome("failed")
    assert value(one.registry, "coordsvc_turns_total", outcome="failed") == 1
    assert value(other.registry, "coordsvc_turns_total", outcome="failed") == 0
