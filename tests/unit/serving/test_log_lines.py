"""A replica's log is written at once, whatever has been put in the place of standard error."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from coordsvc.serving.log_lines import begin_log

LOG = logging.getLogger("coordsvc")


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The process's own; as in a process that has no handlers at all."""
    own = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", own)
    monkeypatch.setattr(LOG, "propagate", False)
    yield own
    LOG.handlers.clear()


def test_a_warning_is_written_once_and_past_serve(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_back = io.StringIO()
    monkeypatch.setattr(sys, "stderr", kept_back)
    begin_log()
    begin_log()
    logging.getLogger("coordsvc.serving.app").warning("no keys are asked for")
    assert stderr.getvalue().count("WARNING coordsvc.serving.app: no keys are asked for") == 1
    assert kept_back.getvalue() == ""


def test_who_has_arranged_for_more_gets_no_second_line(stderr: io.StringIO) -> None:
    theirs = logging.NullHandler()
    LOG.addHandler(theirs)
    begin_log()
    assert LOG.handlers == [theirs]
    assert stderr.getvalue() == ""
