"""Settings that contradict each other are refused as a whole."""

import pytest
from pydantic import ValidationError

from coordsvc.settings.http import HttpSettings


def test_the_defaults_hold_together() -> None:
    assert HttpSettings().body_bytes_max == 1 << 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens_default": 100, "max_tokens_max": 10},
        {"deadline_s": 10, "deadline_s_max": 1},
        {"messages_max": 100_000},
        {"retry_after_s": 0},
        {"colour": "red"},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HttpSettings.model_validate(wrong)
