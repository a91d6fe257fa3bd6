"""The sections, put together."""

from dataclasses import replace
from datetime import UTC, datetime

from coordsvc.bench import policies

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_section_alone_says_what_it_does_and_whether_its_targets_are_met() -> None:
    said: list[str] = []
    told = policies.measure(replace(policies.QUICK, only=("deadlines",)), NOW, said.append)
    assert len(said) == 2
    assert "deadlines" in told
    assert "matrix" not in told
    must = told["must_show"]
    assert isinstance(must, list)
    assert must
    assert told["ok"] is all(shown["ok"] for shown in must)
    assert "must_show" not in told["deadlines"]


def test_the_same_seeds_give_the_same_figures() -> None:
    plan = replace(policies.QUICK, only=("tails",))
    first = policies.measure(plan, NOW, lambda _: None)
    assert policies.measure(plan, NOW, lambda _: None)["tails"] == first["tails"]
