"""What came between two readings: as Prometheus would have it, from what `Metrics` exposes."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from coordsvc.telemetry.exposition import Between, NoExposition, Reading
from coordsvc.telemetry.metrics import Metrics
from coordsvc.telemetry.turns import TURN_BUCKETS_S
from tests.unit.telemetry.told import CHECK, PLAN, RESPOND, turn

TURNS = "coordsvc_turn_seconds"
BOTH, ALL = "planner+responder", "checker+planner+responder"


def reading(metrics: Metrics, at_s: float = 0.0, more: str = "") -> Reading:
    return Reading.of(generate_latest(metrics.registry).decode() + more, at_s)


def between(*walls_ms: int, lasts_s: float = 10.0) -> Between:
    """Two readings, with turns of these lengths in between, and some before."""
    metrics = Metrics()
    metrics.turn(turn(wall_ms=9_000))
    earlier = reading(metrics)
    for wall_ms in walls_ms:
        metrics.turn(turn(wall_ms=wall_ms))
    return Between(earlier, reading(metrics, lasts_s))


# Readings


def test_a_metric_is_added_up_by_the_labels_that_are_asked_for() -> None:
    metrics = Metrics()
    metrics.turn(turn(PLAN, RESPOND, CHECK))
    seen = reading(metrics)
    assert seen.by("coordsvc_tokens_total", "kind")[("prompt",)] == 120
    assert seen.by("coordsvc_tokens_total", "kind", agent="checker") == {
        ("prompt",): 40,
        ("cached",): 25,
        ("output",): 4,
    }
    assert seen.names("coordsvc_turns_total", "outcome")["answered"] == 1
    assert seen.value("coordsvc_solo_seconds_total") == pytest.approx(0.15)


def test_what_is_absent_or_not_finite_has_no_value() -> None:
    more = "coordsvc_a NaN\ncoordsvc_b +Inf\ncoordsvc_c 0\n"
    seen = reading(Metrics(), more=more)
    assert seen.value("coordsvc_a") is None
    assert seen.value("coordsvc_b") is None
    assert seen.value("coordsvc_c") == 0
    assert seen.value("coordsvc_nothing_of_the_kind") is None


@pytest.mark.parametrize("text", ["", "<html>Not found</html>", "a{b= 1", "# only a comment\n"])
def test_a_page_that_is_none_of_ours_is_said_to_be(text: str) -> None:
    with pytest.raises(NoExposition, match="no Prometheus exposition"):
        Reading.of(text, 0.0)


@given(st.text())
def test_no_page_does_harm(text: str) -> None:
    try:
        Reading.of(text, 0.0)
    except NoExposition:
        return


# What came in between


def test_only_what_came_in_between_counts() -> None:
    seen = between(200, 300, lasts_s=4)
    assert seen.total("coordsvc_turns_total", outcome="answered") == 2
    assert seen.rates("coordsvc_turns_total", "outcome")["answered"] == 0.5
    assert seen.mean(TURNS) == pytest.approx(0.25)


def test_counters_that_began_anew_count_from_none() -> None:
    """The instruments died in between: what is there now has all come since."""
    before, after = Metrics(), Metrics()
    for _ in range(5):
        before.turn(turn())
    after.turn(turn())
    seen = Between(reading(before), reading(after, 10))
    assert seen.total("coordsvc_turns_total", outcome="answered") == 1
    assert seen.total(f"{TURNS}_count") == 1


def test_where_nobody_talked_there_is_no_time_and_no_share() -> None:
    seen = between()
    assert seen.quantile(0.95, TURNS) is None
    assert seen.mean(TURNS) is None
    assert seen.share_above(0.25, TURNS) is None
    assert seen.quantile(0.95, "coordsvc_no_such") is None


def test_a_clock_that_stood_still_or_went_back_gives_no_rates() -> None:
    for lasts_s in (0.0, -5.0):
        seen = between(200, lasts_s=lasts_s)
        assert seen.lasts_s == 0
        assert seen.rates("coordsvc_turns_total", "outcome") == {}


def test_turns_above_an_edge_are_told_from_those_on_it() -> None:
    seen = between(100, 250, 251, 900)
    assert seen.share_above(0.25, TURNS) == 0.5
    assert seen.share_above(0.26, TURNS) is None, "no edge: it cannot be known"


def test_quantiles_are_told_by_mix() -> None:
    metrics = Metrics()
    earlier = reading(metrics)
    metrics.turn(turn(PLAN, RESPOND, wall_ms=80))
    metrics.turn(turn(PLAN, RESPOND, CHECK, wall_ms=480))
    seen = Between(earlier, reading(metrics, 1))
    assert seen.quantile(0.5, TURNS, mix=BOTH) == pytest.approx(0.0875)
    assert seen.quantile(0.5, TURNS, mix=ALL) == pytest.approx(0.45)


def test_quantiles_lie_evenly_between_two_edges_as_prometheus_has_it() -> None:
    """A hundred turns between 0.2 and 0.225 s: the median lies in the middle of them."""
    assert between(*[210] * 100).quantile(0.5, TURNS) == pytest.approx(0.2125)
    assert between(*[210] * 100).quantile(1.0, TURNS) == pytest.approx(0.225)
    assert between(*[110] * 50, *[210] * 50).quantile(0.75, TURNS) == pytest.approx(0.2125)


def test_beyond_the_last_edge_a_quantile_is_that_edge() -> None:
    assert between(*[100_000] * 3).quantile(0.5, TURNS) == TURN_BUCKETS_S[-1]


@given(
    st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=50),
    st.floats(min_value=0.01, max_value=1),
)
def test_a_quantile_lies_in_the_bucket_where_the_true_one_does(
    observed: list[float], of_all: float
) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", buckets=TURN_BUCKETS_S, registry=registry)
    earlier = Reading.of(generate_latest(registry).decode(), 0)
    for value in observed:
        histogram.observe(value)
    found = Between(earlier, Reading.of(generate_latest(registry).decode(), 1)).quantile(
        of_all, "h"
    )
    rank = next(n for n in range(1, len(observed) + 1) if n >= of_all * len(observed))
    true = sorted(observed)[rank - 1]
    edges = [0.0, *TURN_BUCKETS_S, inf]
    high = next(n for n, edge in enumerate(edges) if true <= edge and n)
    assert found is not None
    assert edges[high - 1] <= found <= min(edges[high], TURN_BUCKETS_S[-1])
