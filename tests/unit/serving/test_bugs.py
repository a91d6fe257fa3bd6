"""How a bug is told: where it is, and not in words that may be a user's."""

import logging

import pytest

from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.serving.bugs import CHAIN_MAX, bug_answered, bug_told
from coordsvc.serving.pool import Failure

SECRET = "my-secret-word"


def caught() -> Exception:
    """An error as a library raises it, with what it was given; others led to it."""
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError as error:
        last = RuntimeError(SECRET)
        last.__context__ = error
        return last


def test_it_is_told_where_it_is_but_not_what_it_says() -> None:
    told = bug_told(caught(), words=False)
    assert SECRET not in told
    assert "int(SECRET)" in told, "the line of code is no secret"
    order = [told.index(name) for name in ("\nValueError\n", "\nKeyError\n", "RuntimeError")]
    assert order == sorted(order)
    assert told.count("which led to:") == 2


def test_with_words_it_is_told_as_python_does() -> None:
    told = bug_told(caught(), words=True)
    assert told.count(SECRET) >= 3
    assert told.startswith("Traceback (most recent call last):")


@pytest.mark.parametrize("error", [BadRequest("an empty body"), AttributeError("has no 'size'")])
def test_what_is_about_the_program_is_said(error: Exception) -> None:
    assert bug_told(error, words=False) == f"{type(error).__name__}: {error}"


def test_what_was_put_aside_on_purpose_is_not_told() -> None:
    error = caught()
    error.__suppress_context__ = True
    assert bug_told(error, words=False) == "RuntimeError"


def test_a_chain_without_end_is_cut() -> None:
    first = error = RuntimeError()
    for _ in range(CHAIN_MAX * 2):
        error.__cause__ = RuntimeError()
        error = error.__cause__
    assert bug_told(first, words=False).count("RuntimeError") == CHAIN_MAX


def test_a_replica_answers_with_a_value_and_logs_the_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = bug_answered(caught(), "planner", words=False)
    assert isinstance(answer, Failure)
    assert type(answer.error) is CoordinationError
    assert str(answer.error) == "planner failed with RuntimeError; its log says where"
    assert SECRET not in caplog.text
    assert "planner failed" in caplog.text
