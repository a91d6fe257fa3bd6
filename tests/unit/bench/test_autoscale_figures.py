"""The figures of `bench autoscale`, from made-up runs."""

from typing import Any

import pytest

from coordsvc.bench.autoscale_figures import Moment, figures, mean_c_coord_s, reaction_s, reversals
from coordsvc.bench.turns import OK, Question, Told


def told(ended_s: float | None, c_coord_s: float = 0.1, **changes: Any) -> Told:
    account = {"c_coord_s": c_coord_s, "parts_s": {"retry": 0.0}, "phases": []}
    usual: dict[str, Any] = {
        "question": Question(body={}, expected="All is well."),
        "asked_s": 0.0,
        "ended_s": ended_s,
        "status": OK,
        "text": "All is well.",
        "extra": {"account": account},
    }
    return Told(**(usual | changes))


def moments(*there: tuple[float, int, float | None]) -> list[Moment]:
    return [Moment(*one) for one in there]


RUN = moments(
    (0, 1, None), (10, 1, 0.1), (12, 1, 0.6), (20, 1, 2.0), (25, 3, 1.5), (40, 3, 0.1),
    (60, 2, 0.1), (80, 1, None),
)  # fmt: skip


def test_a_mean_is_of_the_turns_that_ended_in_between_and_told_their_account() -> None:
    turns = [told(1.0, 9.0), told(5.0, 0.2), told(6.0, 0.4), told(None, 9.0), told(5.5, extra={})]
    assert mean_c_coord_s(turns, 4.0, 6.0) == pytest.approx(0.3)
    assert mean_c_coord_s(turns, 6.0, 9.0) is None


def test_the_reaction_is_from_the_crossing_to_an_engine_more() -> None:
    assert reaction_s(RUN, 10.0) == 13
    assert reaction_s(RUN[:4], 10.0) is None, "it did not grow"
    assert reaction_s(RUN[:2], 10.0) is None, "it did not cross"


def test_a_step_the_wrong_way_is_a_reversal() -> None:
    assert reversals(RUN, 45.0) == 0
    assert reversals(RUN, 70.0) == 1, "smaller while the load lasted"
    assert reversals(RUN, 22.0) == 1, "larger after it fell"


def test_all_that_is_told() -> None:
    turns = [told(38.0, 0.12), told(39.0, 0.14), told(70.0, text="All is"), told(71.0, status=503)]
    shown = figures(RUN, turns, risen=10.0, fallen=45.0, began=0.0)
    assert shown["c_coord_peak_s"] == 2.0
    assert shown["c_coord_settled_s"] == 0.13
    assert shown["reaction_s"] == 13
    assert shown["lost"] == 2
    assert shown["replicas_max"] == 3
    assert shown["replicas_last"] == 1
    assert shown["took_s"] == 80
