"""Bounds on label values, and gauges that forget or are absent."""

from math import inf, nan

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from coordsvc.telemetry.labels import CHARS_MAX, Bounded, Maybe, Told


def test_the_first_values_keep_their_names_and_the_rest_are_other() -> None:
    bounded = Bounded(most=2)
    assert [bounded.of(name) for name in "abcab"] == ["a", "b", "other", "a", "b"]


def test_a_value_of_any_length_is_cut() -> None:
    assert Bounded().of("x" * 10_000) == "x" * CHARS_MAX


def test_what_is_told_of_no_more_is_shown_as_none() -> None:
    registry = CollectorRegistry()
    told = Told(registry, "alloc", "What is held.", ["agent"])
    told.show([(("a",), 2.0), (("b",), 1.0)])
    told.show([(("b",), 4.0)])
    assert registry.get_sample_value("alloc", {"agent": "a"}) == 0
    assert registry.get_sample_value("alloc", {"agent": "b"}) == 4


def test_a_flood_of_labels_is_added_up_as_other() -> None:
    registry = CollectorRegistry()
    told = Told(registry, "alloc", "What is held.", ["agent"])
    for _ in range(2):
        told.show([((f"agent{n}",), 1.0) for n in range(1_200)])
    assert registry.get_sample_value("alloc", {"agent": "other"}) == 200


@pytest.mark.parametrize("nothing", [None, nan, inf])
def test_a_gauge_without_a_value_is_absent(nothing: float | None) -> None:
    registry = CollectorRegistry()
    gauge = Maybe(registry, "speed", "How fast.")
    assert registry.get_sample_value("speed") is None
    gauge.set(2.5)
    assert registry.get_sample_value("speed") == 2.5
    gauge.set(nothing)
    assert registry.get_sample_value("speed") is None
    assert "# HELP speed How fast." in generate_latest(registry).decode()
