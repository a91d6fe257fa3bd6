"""The study of scaling without its runs: what it asks for, and what it makes of rows."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest

pytest.importorskip("matplotlib", reason="the experiments extra is not installed")

from matplotlib.figure import Figure

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries
from coordsvc.experiments.comparisons import MEASURES, PARTS
from coordsvc.experiments.studies.scaling import FRAGMENTING, MATCHED, Scaling, shares
from coordsvc.experiments.study import Conclusion, Plan, Row, Verdict

BLOCKS = 8


@pytest.fixture
def plan() -> Plan:
    return entries.plan(entries.entry("scaling"), "laptop")


def rows(gpus: int, demands: str, of_ideal: Sequence[float]) -> list[Row]:
    everything = dict.fromkeys((*MEASURES.values(), *(f"{part}_s" for part in PARTS)), 1.0)
    about = {"gpus": gpus, "demands": demands, "seed": 2024, "lost": 0}
    return [{**everything, **about, "block": n, "of_ideal": one} for n, one in enumerate(of_ideal)]


def concluded(plan: Plan, matched: Sequence[Sequence[float]]) -> Conclusion:
    """What comes of pools that are matched so well; with pieces, each comes to a half."""
    return Scaling().conclude(
        plan,
        [
            row
            for gpus, of_ideal in zip(plan.gpus or (), matched, strict=False)
            for row in (
                *rows(gpus, MATCHED, of_ideal),
                *rows(gpus, FRAGMENTING, [0.5, 0.6] * (BLOCKS // 2)),
            )
        ],
    )


GOOD, BAD, UNSURE = [0.96, 0.98] * 4, [0.90, 0.94] * 4, [0.90, 0.99] * 4


@pytest.mark.parametrize(
    ("matched", "verdict"),
    [
        ((GOOD, GOOD, GOOD), Verdict.MET),
        ((GOOD, GOOD, BAD), Verdict.MISSED),
        ((GOOD, UNSURE, GOOD), Verdict.UNDECIDED),
        ((UNSURE, BAD, GOOD), Verdict.MISSED),
        ((GOOD, GOOD), Verdict.UNDECIDED),
        ((GOOD, BAD), Verdict.MISSED),
    ],
    ids=["all", "one is not", "one may not be", "one is not, for sure", "no third", "nor need be"],
)
def test_the_target_is_met_by_every_pool_or_not_at_all(
    plan: Plan, matched: Sequence[Sequence[float]], verdict: Verdict
) -> None:
    """Pools that a broken-off run did not come to leave open what the others do not decide."""
    assert concluded(plan, matched).verdict is verdict


def test_only_what_fits_has_a_target_and_the_worst_is_named(plan: Plan) -> None:
    told = concluded(plan, (GOOD, BAD, GOOD))
    wanted = {one.name for one in told.findings if one.wanted}
    assert wanted == {f"of_ideal_{MATCHED}_{gpus}" for gpus in plan.gpus or ()}
    assert "is 0.92 [" in told.says
    assert "comes down to 0.55 [" in told.says


def test_pictures_are_drawn_of_a_run_that_was_broken_off(plan: Plan) -> None:
    """It came to one pool, and of that to one kind of demands."""
    for figure in Scaling().conclude(plan, rows(2, MATCHED, GOOD)).figures:
        canvas = Figure()
        figure.draw(canvas)
        assert canvas.axes, figure.name


def test_each_pool_runs_with_both_demands_and_each_seed(plan: Plan) -> None:
    cells = Scaling().cells(replace(plan, seeds=(1, 2)))
    asked = {(one.settings["gpus"], one.settings["demands"], one.settings["seed"]) for one in cells}
    assert asked == set(product((2, 4, 6), (MATCHED, FRAGMENTING), (1, 2)))
    assert len({cell.key for cell in cells}) == len(cells) == 12


def test_demands_fit_or_leave_pieces(plan: Plan) -> None:
    """Of four places: any four phases fill them; a draft takes three, and one is left over."""
    assert shares(plan.parameters, MATCHED) == {"planner": 0.25, "responder": 0.25}
    assert shares(plan.parameters, FRAGMENTING) == {"planner": 0.5, "responder": 0.75}


def test_more_accelerators_than_can_be_started_are_refused(plan: Plan) -> None:
    Scaling().check(plan)
    with pytest.raises(BadRequest, match=r"--gpus 65: .*at most 64 are right"):
        Scaling().check(replace(plan, gpus=(2, 65)))
