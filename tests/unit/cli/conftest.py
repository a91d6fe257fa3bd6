"""A decision log to read."""

from pathlib import Path

import pytest

from coordsvc.telemetry.decision_log import DecisionLog, DecisionLogTerms
from tests.walks import Walk


@pytest.fixture
def decision_log(tmp_path: Path) -> Path:
    """Return the folder of a log of 150 events, in one file."""
    walk = Walk(1, "fair_share")
    allocator = walk.allocator()
    log = DecisionLog(DecisionLogTerms(folder=tmp_path / "log"))
    log.begin(allocator)
    for _ in range(150):
        now, event = walk.next(allocator)
        log.hand(allocator, now, event, allocator.handle(now, event))
    log.close()
    return tmp_path / "log"
