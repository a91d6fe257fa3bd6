"""What `coordsvc top` makes of two readings, from what `Metrics` exposes."""

import json
from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from coordsvc.cli.picture import Picture, picture
from coordsvc.core.accounting import PARTS
from coordsvc.core.units import Instant
from coordsvc.telemetry.exposition import Between, Reading
from coordsvc.telemetry.metrics import Metrics
from tests.unit.telemetry.told import CHECK, PLAN, RESPOND, SNAPSHOT, turn

WARNED = """
coordsvc_collapse_risk 2
coordsvc_collapse_sign{sign="margin"} 1
coordsvc_collapse_sign{sign="change"} 1
coordsvc_collapse_sign{sign="burn"} 0
coordsvc_collapse_time_to_cross_seconds 40
coordsvc_scaling_wanted 3
coordsvc_scaling_bound{bound="min"} 1
coordsvc_scaling_bound{bound="max"} 4
"""
FLEET = {"computing": 6, "held": 1, "blocked": 1, "stranded": 0, "idle": 2}


def exposed(metrics: Metrics, at_s: float, more: str = "") -> Reading:
    return Reading.of(generate_latest(metrics.registry).decode() + more, at_s)


def seen(*walls_ms: int, more: str = WARNED, baseline_us: int = 0) -> Picture:
    """Return ten seconds with turns of these lengths, half of them with a checker."""
    metrics = Metrics()
    metrics.pool(Instant(0), SNAPSHOT)
    earlier = exposed(metrics, 0)
    for number, wall_ms in enumerate(walls_ms):
        agents = (PLAN, RESPOND, CHECK) if number % 2 else (PLAN, RESPOND)
        metrics.turn(turn(*agents, wall_ms=wall_ms), baseline_us)
    seconds = {state: n * 1_000_000 * 1_000_000 for state, n in FLEET.items()}
    told = replace(
        SNAPSHOT,
        ended_offers={("planner", "released"): 17, ("planner", "expired"): 10},
        fleet=seconds,
    )
    metrics.pool(Instant(10_000_000), told)
    return picture(Between(earlier, exposed(metrics, 10, more)), now_s=2e9)


def test_turns_are_summed_up_over_all_and_by_mix() -> None:
    told = seen(210, 460, 210, 460)
    assert told["turns"]["per_s"]["answered"] == 0.4
    assert told["turns"]["p95_s"] == pytest.approx(0.49)
    assert told["turns"]["late"] == 0.5
    assert told["mixes"]["planner+responder"]["p50_s"] == pytest.approx(0.2125)
    assert told["mixes"]["checker+planner+responder"]["p50_s"] == pytest.approx(0.45)


def test_the_parts_of_c_coord_are_seconds_of_one_turn_and_add_up() -> None:
    told = seen(210, 410)
    parts = told["c_coord_parts_s"]
    assert list(parts) == list(PARTS)
    assert sum(parts.values()) == pytest.approx(told["turns"]["c_coord_mean_s"], abs=0.01)
    assert parts["offer_wait"] == pytest.approx((0.065 + 0.265) / 2)


def test_where_nobody_talks_there_are_no_values() -> None:
    told = seen()
    assert told["c_coord_parts_s"] is None
    assert told["turns"]["p95_s"] is None
    assert told["turns"]["late"] is None
    assert told["mixes"] == {}
    assert told["fleet"]["s_measured"] is None


def test_offers_are_told_by_how_they_ended() -> None:
    offers = seen(200)["offers"]
    assert offers["ended_per_s"] == {"released": 1.0, "expired": 1.0}
    assert offers["for_one_that_worked"] == 2
    assert offers["wasted"] == 0.5
    assert offers["open"] == {"issued": 3, "accepted": 1}
    assert offers["waiting"] == 2


def test_each_agent_has_what_it_holds_beside_what_it_wants() -> None:
    told = seen(200)
    assert told["agents"]["planner"]["alloc"] == {"cpu": 2.5}
    assert told["agents"]["planner"]["utility"] == 1.5
    assert told["agents"]["responder"]["waiting"] == 2
    assert told["capacity"] == {"gpu": 0, "cpu": 6, "bandwidth": 1.5}


def test_the_five_states_are_shares_of_all() -> None:
    states = seen(200)["fleet"]["states"]
    assert states == pytest.approx({name: n / 10 for name, n in FLEET.items()})


def test_s_measured_is_told_beside_its_ideal() -> None:
    """Two turns in ten seconds of one accelerator, 3 s of compute each, alone as together."""
    fleet = seen(200, 200, baseline_us=3_000_000)["fleet"]
    assert fleet["s_measured"] == pytest.approx(0.6)
    assert fleet["ideal"] == pytest.approx(1.0)
    assert fleet["of_ideal"] == pytest.approx(0.6)
    assert fleet["c_algo_s"] == pytest.approx(3.0)
    assert fleet["c_coord_fleet_s"] == pytest.approx(1.25)


def test_the_warning_says_in_words_what_speaks() -> None:
    warning = seen(200)["warning"]
    assert warning["level"] == 2
    assert warning["says"] == "warning; change, margin speak; C_coord crosses its bound in 40 s"


@pytest.mark.parametrize(
    ("told", "level"), [("0", 0), ("1", 1), ("2", 2), ("7", 2), ("-1", 0)], ids=str
)
def test_every_level_has_a_word(told: str, level: int) -> None:
    assert seen(200, more=f"coordsvc_collapse_risk {told}\n")["warning"]["level"] == level


def test_a_level_that_is_no_number_is_no_warning() -> None:
    assert seen(200, more="coordsvc_collapse_risk NaN\n")["warning"] is None


def test_scaling_is_shown_where_there_is_any() -> None:
    assert seen(200)["scaling"] == {"wanted": 3, "min": 1, "max": 4}
    assert seen(200, more="a 1\n")["scaling"] is None


def test_the_allocator_is_told_of_with_how_long_it_has_been_silent() -> None:
    told = seen(200)["allocator"]
    assert told["policy"] == "utility"
    assert told["broken_reservations"] == 1
    assert told["silent_s"] > 0
    nobody = Between(exposed(Metrics(), 0), exposed(Metrics(), 1))
    assert picture(nobody, now_s=2e9)["allocator"]["silent_s"] is None, "it has not said a word yet"


def test_all_of_it_is_json() -> None:
    assert json.loads(json.dumps(seen(200, 400), allow_nan=False))["seconds"] == 10
