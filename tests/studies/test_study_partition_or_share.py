"""The study of walls without its runs: which verdict which figures earn, and what is asked."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="the experiments extra is not installed")

from matplotlib.figure import Figure

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries
from coordsvc.experiments.comparisons import MEASURES, PARTS
from coordsvc.experiments.studies.partition_or_share import (
    PARTITION,
    SHARE,
    PartitionOrShare,
    questions,
    settings,
)
from coordsvc.experiments.study import Plan, Row, Verdict

BALANCED, HEAVY, BURSTS = "balanced", "planner-heavy", "bursts"


@pytest.fixture
def plan() -> Plan:
    return entries.plan(entries.entry("partition-or-share"), "laptop")


def both(mix: str, gains: tuple[float, float], *, gpus: int = 2) -> list[Row]:
    """Rows of a mix: sharing is worth these factors, block by block in turn."""
    everything = dict.fromkeys((*MEASURES.values(), *(f"{part}_s" for part in PARTS)), 1.0)
    about = {"mix": mix, "gpus": gpus, "seed": 2024, "lost": 0}
    return [
        {
            **everything,
            **about,
            "pool": pool,
            "block": n,
            "turns_per_s": 4.0 * gain,
            "planner_part": 0.5,
            "responder_part": 0.5 if pool == SHARE else 0.25,
        }
        for n in range(8)
        for pool, gain in ((PARTITION, 1.0), (SHARE, gains[n % 2]))
    ]


BETTER, WORSE, UNSURE = (1.2, 1.4), (0.7, 0.9), (0.7, 1.5)


@pytest.mark.parametrize(
    ("mixes", "verdict"),
    [
        ({BALANCED: BETTER, HEAVY: BETTER, BURSTS: BETTER}, Verdict.CONFIRMED),
        ({BALANCED: UNSURE, HEAVY: BETTER, BURSTS: BETTER}, Verdict.UNDECIDED),
        ({BALANCED: WORSE, HEAVY: BETTER, BURSTS: BETTER}, Verdict.FALSIFIED),
        ({BALANCED: BETTER, HEAVY: BETTER}, Verdict.UNDECIDED),
        ({BALANCED: WORSE}, Verdict.FALSIFIED),
    ],
    ids=["all", "one may not", "one does not", "one was not measured", "one is enough against"],
)
def test_a_claim_of_every_mix_needs_every_mix(
    plan: Plan, mixes: Mapping[str, tuple[float, float]], verdict: Verdict
) -> None:
    rows = [row for mix, gains in mixes.items() for row in both(mix, gains)]
    assert PartitionOrShare().conclude(plan, rows).verdict is verdict


def test_pools_of_two_sizes_are_not_mixed(plan: Plan) -> None:
    two_sizes = replace(plan, gpus=(2, 4), parameters={**plan.parameters, "mixes": {HEAVY: {}}})
    rows = [*both(HEAVY, (2.0, 2.0), gpus=2), *both(HEAVY, (1.5, 1.5), gpus=4)]
    told = PartitionOrShare().conclude(two_sizes, rows)
    gains = {one.name: one.value for one in told.findings if one.wanted}
    assert gains == {
        "turns_per_s planner-heavy, 2 accelerators": pytest.approx(2.0),
        "turns_per_s planner-heavy, 4 accelerators": pytest.approx(1.5),
    }
    assert len(told.tables[0].rows) == 4


def test_what_walls_leave_idle_is_told(plan: Plan) -> None:
    parts = PartitionOrShare().conclude(plan, both(HEAVY, BETTER)).tables[1]
    assert parts.columns[-3:] == ("planner", "responder", "nobody")
    assert {row[2]: row[-1] for row in parts.rows} == {PARTITION: "0.250", SHARE: "0.000"}


def test_pictures_are_drawn_of_a_run_that_was_broken_off(plan: Plan) -> None:
    """It came to one mix whole, and to one side of another."""
    half = [row for row in both(HEAVY, BETTER) if row["pool"] == PARTITION]
    for figure in PartitionOrShare().conclude(plan, [*both(BALANCED, BETTER), *half]).figures:
        canvas = Figure()
        figure.draw(canvas)
        assert canvas.axes, figure.name


def test_both_pools_answer_the_same_prompts_and_only_the_walls_differ(plan: Plan) -> None:
    cells = PartitionOrShare().cells(plan)
    divided = [one.settings for one in cells if one.settings["pool"] == PARTITION]
    shared = [one.settings for one in cells if one.settings["pool"] == SHARE]
    assert [{**one, "pool": SHARE} for one in divided] == shared
    assert [questions(one) for one in divided] == [questions(one) for one in shared]
    walls, none = (settings(plan.parameters, BURSTS, pool) for pool in (PARTITION, SHARE))
    assert walls.pop("offers") != none.pop("offers")
    assert walls == none


def test_bursts_are_short_replies_and_then_long_ones(plan: Plan) -> None:
    told = {**plan.parameters, "mix": BURSTS, "seed": 1}
    mix = plan.parameters["mixes"][BURSTS]
    asked = [tokens for _, tokens in questions(told)]
    assert asked[: mix["burst"]] == [mix["reply_tokens"][0]] * mix["burst"]
    assert asked[mix["burst"] : 2 * mix["burst"]] == [mix["reply_tokens"][1]] * mix["burst"]


def test_halves_of_an_odd_pool_are_refused(plan: Plan) -> None:
    PartitionOrShare().check(plan)
    with pytest.raises(BadRequest, match=r"--gpus 3: .*an even number is right"):
        PartitionOrShare().check(replace(plan, gpus=(2, 3)))
