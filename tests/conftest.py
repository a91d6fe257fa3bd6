"""For every test: steady Hypothesis runs, and a way to forbid skips."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

NO_SKIPS = "COORDSVC_NO_SKIPS"
"""Set to 1, a skipped test fails the run: where all is installed, a skip hides a missing test."""
EXCUSES = ("needs hardware:", "not here:")
"""A skip whose reason begins so is no omission: the machine lacks it, and CI cannot install it."""

# A busy machine makes any example slow now and then: time limits are pytest-timeout's business.
settings.register_profile("steady", deadline=None, print_blob=True)
settings.load_profile("steady")

skipped: list[tuple[str, str]] = []
"""What was skipped, with the reason."""


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped.append((report.nodeid, said.removeprefix("Skipped: ")))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def _omissions() -> Iterator[tuple[str, str]]:
    if os.environ.get(NO_SKIPS, "0") not in {"", "0"}:
        yield from ((test, why) for test, why in skipped if not why.startswith(EXCUSES))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if any(_omissions()) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for test, why in _omissions():
        terminalreporter.write_line(f"SKIPPED, AND {NO_SKIPS} IS SET: {test}: {why}", red=True)
