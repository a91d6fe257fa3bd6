"""Metrics of turns: each turn is counted once everywhere, and its seconds where they went."""

import pytest
from prometheus_client import CollectorRegistry

from coordsvc.core.accounting import PARTS, PhaseParts
from coordsvc.core.dialogue import PLANNER, RESPONDER, Phase
from coordsvc.core.units import Micros
from coordsvc.telemetry.turns import COORD_BUCKETS_S, OUTCOMES, TURN_BUCKETS_S, TurnMetrics
from tests.unit.telemetry.told import CHECK, PLAN, RESPOND, report, turn, value

ALL_THREE = "checker+planner+responder"


class Counted(TurnMetrics):
    """With its registry at hand."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        super().__init__(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return value(self.registry, name, **labels)


def test_parts_and_outcomes_that_never_happened_are_shown_as_none() -> None:
    metrics = Counted()
    for part in PARTS:
        assert (
            metrics.value("coordsvc_c_coord_part_seconds_total", part=part, agent="", phase="") == 0
        )
    for outcome in OUTCOMES:
        assert metrics.value("coordsvc_turns_total", outcome=outcome) == 0


def test_buckets_have_an_edge_where_something_is_decided() -> None:
    """The p95 target of three agents, and the C_coord at which placement groups grow."""
    assert 0.25 in TURN_BUCKETS_S
    assert sum(1 for edge in TURN_BUCKETS_S if 0.2 <= edge <= 0.3) >= 5
    assert 0.5 in COORD_BUCKETS_S
    for edges in (TURN_BUCKETS_S, COORD_BUCKETS_S):
        assert list(edges) == sorted(set(edges))


def test_a_turn_is_counted_once_everywhere() -> None:
    metrics = Counted()
    metrics.turn(turn(PLAN, RESPOND, CHECK, wall_ms=240, solo_ms=150))
    assert metrics.value("coordsvc_turns_total", outcome="answered") == 1
    assert metrics.value("coordsvc_turn_seconds_count", mix=ALL_THREE) == 1
    assert metrics.value("coordsvc_turn_seconds_sum", mix=ALL_THREE) == pytest.approx(0.240)
    assert metrics.value("coordsvc_turn_seconds_bucket", mix=ALL_THREE, le="0.225") == 0
    assert metrics.value("coordsvc_turn_seconds_bucket", mix=ALL_THREE, le="0.25") == 1
    assert metrics.value("coordsvc_c_coord_seconds_sum", mix=ALL_THREE) == pytest.approx(0.090)
    assert metrics.value("coordsvc_solo_seconds_total") == pytest.approx(0.150)


def test_turns_of_two_and_three_agents_are_told_apart() -> None:
    metrics = Counted()
    metrics.turn(turn(PLAN, RESPOND))
    metrics.turn(turn(PLAN, RESPOND, CHECK, report(Phase.REVISE, RESPONDER)))
    assert metrics.value("coordsvc_turn_seconds_count", mix="planner+responder") == 1
    assert metrics.value("coordsvc_turn_seconds_count", mix=ALL_THREE) == 1


def test_parts_add_up_over_turns_and_a_negative_remainder_takes_nothing_away() -> None:
    metrics = Counted()
    metrics.turn(turn(wall_ms=200, solo_ms=150))
    metrics.turn(turn(wall_ms=300, solo_ms=150))
    waited = metrics.value(
        "coordsvc_c_coord_part_seconds_total", part="offer_wait", agent="", phase=""
    )
    assert waited == pytest.approx(0.055 + 0.155)
    assert (
        metrics.value("coordsvc_c_coord_part_seconds_total", part="unexplained", agent="", phase="")
        == 0
    )


def test_engine_time_and_tokens_are_counted_by_agent() -> None:
    metrics = Counted()
    metrics.turn(turn(PLAN, RESPOND, CHECK, report(Phase.REVISE, RESPONDER)))
    engine = {
        phase: metrics.value("coordsvc_engine_seconds_total", agent=agent, phase=phase)
        for phase, agent in (
            ("respond", "responder"),
            ("revise", "responder"),
            ("check", "checker"),
        )
    }
    assert engine == pytest.approx({"respond": 0.09, "revise": 0.09, "check": 0.03})
    tokens = {
        kind: metrics.value("coordsvc_tokens_total", agent="responder", kind=kind)
        for kind in ("prompt", "cached", "output")
    }
    assert tokens == {"prompt": 80, "cached": 50, "output": 8}


def test_how_a_turn_ended_is_counted_by_its_end() -> None:
    metrics = Counted()
    metrics.turn(turn(gave_up=True))
    metrics.outcome("refused")
    metrics.outcome("refused")
    assert metrics.value("coordsvc_turns_total", outcome="gave_up") == 1
    assert metrics.value("coordsvc_turns_total", outcome="answered") == 0
    assert metrics.value("coordsvc_turns_total", outcome="refused") == 2


def test_what_a_phase_spent_is_counted_as_its_agents() -> None:
    """The whole of a part is kept: what no phase spent is the turn's own."""
    metrics = Counted()
    spent = {"offer_wait": Micros(30_000), "call": Micros(2_000)}
    phases = (
        PhaseParts(PLANNER, Phase.PLAN, spent),
        PhaseParts(RESPONDER, Phase.RESPOND, {"offer_wait": Micros(20_000)}),
    )
    metrics.turn(turn(wall_ms=200, solo_ms=150, split=phases))
    by_agent = {
        agent: metrics.value(
            "coordsvc_c_coord_part_seconds_total", part="offer_wait", agent=agent, phase=phase
        )
        for agent, phase in (("planner", "plan"), ("responder", "respond"), ("", ""))
    }
    assert by_agent == pytest.approx({"planner": 0.030, "responder": 0.020, "": 0.005})


def test_turns_that_were_never_told_of_are_counted() -> None:
    metrics = Counted()
    metrics.untold(4)
    assert metrics.value("coordsvc_turns_untold_total") == 4


def test_a_flood_of_agents_ends_as_other() -> None:
    metrics = Counted()
    for number in range(1_500):
        metrics.turn(turn(report(Phase.PLAN, f"agent{number}")))
    engine = next(f for f in metrics.registry.collect() if f.name == "coordsvc_engine_seconds")
    named = {one.labels["agent"] for one in engine.samples}
    assert len(named) == 1_001
    assert metrics.value("coordsvc_tokens_total", agent="other", kind="output") == 500 * 4
