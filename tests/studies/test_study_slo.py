"""The study of a service level without its runs: which loads are held, and what a verdict takes."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="the experiments extra is not installed")

from matplotlib.figure import Figure

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries
from coordsvc.experiments.studies.slo import Slo, settings
from coordsvc.experiments.study import Conclusion, Plan, Row, Verdict

FAST, SLOW, LOST = 0.2, 0.4, None
TURNS = 200


@pytest.fixture
def plan() -> Plan:
    return entries.plan(entries.entry("slo"), "laptop")


def rows(load: float, *walls: float | None) -> list[Row]:
    """A step of the ladder: turns took these times, one after the other; None is a lost one."""
    return [
        {
            "gpus": 3,
            "seed": 2024,
            "load": load,
            "status": 503 if wall is None else 200,
            "client_s": 0.5 if wall is None else wall + 0.01,
            "wall_s": wall,
            "solo_s": None if wall is None else 0.12,
            "c_coord_s": None if wall is None else wall - 0.12,
            "output_tokens": None if wall is None else 40,
        }
        for wall in walls
    ]


def held(load: float) -> list[Row]:
    return rows(load, *[FAST] * TURNS)


def broken(load: float) -> list[Row]:
    return rows(load, *[SLOW] * TURNS)


def unsure(load: float) -> list[Row]:
    """One in twenty is slow: p95 lies on one side of the limit or on the other, by chance."""
    return rows(load, *[FAST] * (TURNS * 19 // 20), *[SLOW] * (TURNS // 20))


def concluded(plan: Plan, *steps: list[Row]) -> Conclusion:
    return Slo().conclude(plan, [row for step in steps for row in step])


def highest(told: Conclusion) -> float | None:
    return next(one.value for one in told.findings if one.name == "highest_load")


def test_the_level_is_held_up_to_the_last_load_whose_whole_interval_is_below(plan: Plan) -> None:
    told = concluded(plan, held(8.0), held(12.0), broken(16.0))
    assert (told.verdict, highest(told)) == (Verdict.MET, 12.0)
    assert told.says.startswith("Up to 12 turns a second p95 of a turn stays below 250 ms")


def test_a_load_above_one_that_broke_is_not_held(plan: Plan) -> None:
    """ "Up to" means all below: a lucky step does not make up for a broken one."""
    told = concluded(plan, held(4.0), broken(8.0), held(12.0))
    assert (told.verdict, highest(told)) == (Verdict.MISSED, 4.0)


def test_an_interval_with_both_answers_decides_nothing(plan: Plan) -> None:
    told = concluded(plan, held(8.0), unsure(10.0), broken(12.0))
    assert (told.verdict, highest(told)) == (Verdict.UNDECIDED, 8.0)


def test_a_ladder_that_ended_too_early_decides_nothing(plan: Plan) -> None:
    assert concluded(plan, held(4.0), held(8.0)).verdict is Verdict.UNDECIDED


def test_a_lost_turn_is_a_load_that_is_not_held(plan: Plan) -> None:
    told = concluded(plan, held(8.0), [*held(10.0), *rows(10.0, LOST)])
    assert (told.verdict, highest(told)) == (Verdict.MISSED, 8.0)
    assert any(one.says.endswith("at 10 turns a second, 1 lost") for one in told.findings)


def test_a_load_at_which_nobody_was_answered_is_told_of(plan: Plan) -> None:
    told = concluded(plan, held(8.0), rows(10.0, LOST, LOST))
    assert (told.verdict, highest(told)) == (Verdict.MISSED, 8.0)
    (nobody,) = [one for one in told.findings if one.name == "p95_at_10"]
    assert nobody.value is None
    assert told.tables[0].rows[-1] == ("10", "-", "-", "-", "-", "-", "2")
    canvas = Figure()
    told.figures[0].draw(canvas)
    assert list(canvas.axes[0].lines[0].get_xdata()) == [8.0]


def test_lost_turns_are_in_no_quantile(plan: Plan) -> None:
    told = concluded(plan, [*held(8.0), *rows(8.0, *[LOST] * (2 * TURNS))])
    (line,) = told.tables[0].rows
    assert line[1:4] == ("0.200", "0.2 [0.2, 0.2]", "0.210")


def test_the_pool_follows_c_coord_between_one_accelerator_and_all(plan: Plan) -> None:
    scaling = settings(plan.parameters, 3)["scaling"]
    assert (scaling["replicas_min"], scaling["replicas_max"]) == (1, 3)
    assert scaling["c_coord_s"] == 0.5
    Slo().check(plan)


def test_two_pools_have_two_levels_and_are_refused(plan: Plan) -> None:
    with pytest.raises(BadRequest, match=r"--gpus: .*name one size"):
        Slo().check(replace(plan, gpus=(1, 3)))
