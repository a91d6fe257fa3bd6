"""Settings of the early warning."""

import pytest

from coordsvc.core.collapse import DetectorTerms
from coordsvc.core.units import SECOND, seconds
from coordsvc.settings import SettingsError, check


def test_the_terms_are_those_of_the_core_where_nothing_else_is_said() -> None:
    collapse = check({}).collapse
    assert collapse.terms() == DetectorTerms()
    assert collapse.window_us == 10 * SECOND


def test_what_depends_on_the_service_reaches_the_detector() -> None:
    said = {"c_coord_s": 1.5, "window_s": 60.0, "history": 30, "horizon": 5.0, "slow_turns": 0.2}
    collapse = check({"collapse": said}).collapse
    terms = collapse.terms()
    assert (terms.bound_us, collapse.window_us) == (seconds(1.5), seconds(60))
    assert (terms.history, terms.horizon, terms.burn_allowed) == (30, 5.0, 0.2)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"horizon": 30.0}, "horizon (30.0) is above history (26)"),
        ({"c_coord_s": 0}, "args.collapse.c_coord_s"),
        ({"history": 3}, "args.collapse.history"),
        ({"window": 10}, "args.collapse.window"),
    ],
)
def test_what_cannot_be_is_refused_by_name(said: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check({"collapse": said})
    assert told in str(refused.value)
