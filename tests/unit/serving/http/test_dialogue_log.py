"""What users ask and are answered is logged where it is asked for, and nowhere else."""

import logging
from collections.abc import Iterator

import pytest

from coordsvc.core.errors import Overloaded
from coordsvc.serving.http.dialogue_log import CHARS_MAX, begin_dialogue_log, log
from tests.unit.serving.http.fakes import ask, build, result


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    yield log
    log.setLevel(logging.NOTSET)
    log.handlers.clear()


async def test_nothing_is_logged_unasked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await build().post(ask("What is love?"))
    assert "love" not in caplog.text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_is_logged_in_one_line(
    caplog: pytest.LogCaptureFixture, *, stream: bool
) -> None:
    house = build(result("Baby,\ndon't hurt me."), log_text=True)
    with caplog.at_level(logging.INFO, logger=log.name):
        assert (await house.post(ask("What\nis love?", stream=stream))).status_code == 200
    (record,) = [one for one in caplog.records if one.name == log.name]
    said = record.getMessage()
    assert house.turns.asked[0].turn_id in said
    assert said.endswith("'What\\nis love?' -> \"Baby,\\ndon't hurt me.\"")
    assert "\n" not in said


async def test_of_a_long_text_the_beginning_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    house = build(result("y" * (CHARS_MAX + 7)), log_text=True)
    with caplog.at_level(logging.INFO, logger=log.name):
        await house.post(ask("x" * (CHARS_MAX * 2)))
    (record,) = [one for one in caplog.records if one.name == log.name]
    said = record.getMessage()
    assert said.count("x") == CHARS_MAX
    assert f"and {CHARS_MAX} characters more -> " in said
    assert said.endswith("and 7 characters more")


async def test_a_turn_that_failed_is_logged_without_a_reply(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger=log.name):
        await build(Overloaded("full"), log_text=True).post(ask("What is love?"))
    (record,) = [one for one in caplog.records if one.name == log.name]
    assert record.getMessage().endswith("'What is love?' -> ''")


def test_it_is_written_somewhere_even_where_nobody_arranged_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "propagate", False)  # as in a process that has no handlers at all
    begin_dialogue_log()
    begin_dialogue_log()
    assert len(log.handlers) == 1
    assert log.isEnabledFor(logging.INFO)
