"""The study of a third agent without its runs: what is set against what."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="the experiments extra is not installed")

from matplotlib.figure import Figure

from coordsvc.experiments import entries
from coordsvc.experiments.comparisons import MEASURES, PARTS
from coordsvc.experiments.studies.third_agent import THREE, TWO, ThirdAgent, settings
from coordsvc.experiments.study import Plan, Row, Verdict


@pytest.fixture
def plan() -> Plan:
    return entries.plan(entries.entry("third-agent"), "laptop")


def rows(agents: str, load: str, s_measured: float, *, gpus: int = 2) -> list[Row]:
    everything = dict.fromkeys((*MEASURES.values(), *(f"{part}_s" for part in PARTS)), 1.0)
    about = {"agents": agents, "load": load, "gpus": gpus, "seed": 2024, "lost": 0}
    return [{**everything, **about, "block": n, "s_measured": s_measured} for n in range(8)]


def test_three_agents_are_set_against_two_under_the_same_load(plan: Plan) -> None:
    told = ThirdAgent().conclude(
        plan,
        [
            *(*rows(TWO, "1 at a time", 0.9), *rows(THREE, "1 at a time", 0.81)),
            *(*rows(TWO, "12 at a time", 6.0), *rows(THREE, "12 at a time", 3.0)),
        ],
    )
    found = {one.name: one.value for one in told.findings if one.name.startswith("s_measured")}
    assert found == {
        "s_measured 1 at a time, 2 accelerators": pytest.approx(0.9),
        "s_measured 12 at a time, 2 accelerators": pytest.approx(0.5),
    }
    assert told.verdict is Verdict.SHOWN
    assert "against two is 0.9 [0.9, 0.9] (1 at a time, 2 accelerators)" in told.says


def test_pools_of_two_sizes_are_not_mixed(plan: Plan) -> None:
    told = ThirdAgent().conclude(
        plan,
        [
            *(*rows(TWO, "12 at a time", 4.0), *rows(THREE, "12 at a time", 2.0)),
            *rows(TWO, "12 at a time", 8.0, gpus=4),
            *rows(THREE, "12 at a time", 8.0, gpus=4),
        ],
    )
    found = [one.value for one in told.findings if one.name.startswith("s_measured")]
    assert found == pytest.approx([0.5, 1.0])
    assert len(told.tables[0].rows) == 4


def test_a_run_that_ended_before_the_third_came_says_so(plan: Plan) -> None:
    told = ThirdAgent().conclude(plan, rows(TWO, "1 at a time", 0.9))
    assert told.says == "One of the two was not measured."
    assert told.findings == ()
    for figure in told.figures:
        canvas = Figure()
        figure.draw(canvas)
        assert canvas.axes, figure.name


def test_both_answer_the_same_prompts_on_the_same_accelerators(plan: Plan) -> None:
    cells = ThirdAgent().cells(replace(plan, seeds=(2024, 7)))
    assert len({cell.key for cell in cells}) == len(cells) == 8
    two = [one.settings for one in cells if one.settings["agents"] == TWO]
    three = [one.settings for one in cells if one.settings["agents"] == THREE]
    assert [{**one, "agents": THREE} for one in two] == three
    assert settings(plan.parameters, TWO)["agents"]["checker"] is None
    assert settings(plan.parameters, THREE)["agents"]["checker"] == {"demand": {"gpu": 0.25}}
