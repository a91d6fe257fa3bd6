"""A replica's log is written at once, whatever has been put in the place of standard error."""

import io
import logging
import sys

import pytest

from coordsvc.serving.log_lines import begin_log

LOG = logging.getLogger("coordsvc")


def process(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Be a process that has no handlers at all; return its own standard error."""
    own = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", own)
    monkeypatch.setattr(LOG, "propagate", False)
    monkeypatch.setattr(LOG, "handlers", [])  # pytest has put some of its own there
    return own


def test_a_warning_is_written_once_and_past_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    own, kept_back = process(monkeypatch), io.StringIO()
    monkeypatch.setattr(sys, "stderr", kept_back)
    begin_log()
    begin_log()
    logging.getLogger("coordsvc.serving.app").warning("no keys are asked for")
    assert own.getvalue().count("WARNING coordsvc.serving.app: no keys are asked for") == 1
    assert kept_back.getvalue() == ""


def test_who_has_arranged_for_more_gets_no_second_line(monkeypatch: pytest.MonkeyPatch) -> None:
    own, theirs = process(monkeypatch), logging.NullHandler()
    LOG.addHandler(theirs)
    begin_log()
    assert LOG.handlers == [theirs]
    assert own.getvalue() == ""
