"""What `make audit` makes of pip-audit's words: faults, none, or nobody there to ask."""

import json
import re

from tools.audit import ALL_WELL, FAILED, FAULTS, LOCKS, NOT_REACHED, verdict

CLEAN = {"name": "pyyaml", "version": "6.0.3", "vulns": []}
FAULTY = {
    "name": "aiohttp",
    "version": "3.0",
    "vulns": [
        {"id": "PYSEC-1", "fix_versions": ["3.1", "4.0"], "description": "", "aliases": []},
        {"id": "PYSEC-2", "fix_versions": [], "description": "", "aliases": []},
    ],
}
SKIPPED = {"name": "ours", "skip_reason": "it is not there"}


def told(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_no_fault_is_good_news() -> None:
    assert verdict(told(CLEAN), "") == (ALL_WELL, "nothing is known against 1 packages")


def test_each_fault_is_named_with_its_remedy() -> None:
    code, says = verdict(told(CLEAN, FAULTY), "")
    assert code == FAULTS
    assert "aiohttp 3.0: PYSEC-1, mended in 3.1, 4.0" in says
    assert "aiohttp 3.0: PYSEC-2, mended in no release yet" in says


def test_what_was_passed_over_is_said() -> None:
    code, says = verdict(told(CLEAN, SKIPPED), "")
    assert code == ALL_WELL
    assert says == "nothing is known against 1 packages\nours: not audited: it is not there"


def test_nobody_to_ask_is_not_the_same_as_no_fault() -> None:
    code, says = verdict("", "requests.exceptions.ConnectionError: Max retries exceeded")
    assert code == NOT_REACHED
    assert says.startswith("NOT DONE")


def test_a_failure_of_the_tool_is_shown() -> None:
    code, says = verdict("", "pip-audit: error: no such file")
    assert (code, says) == (FAILED, "pip-audit failed:\npip-audit: error: no such file")


def test_there_is_something_to_ask_about() -> None:
    """Exact versions: a range has no faults of its own."""
    lines = [
        line
        for lock in LOCKS.glob("*.txt")
        for line in lock.read_text().splitlines()
        if not line.startswith("#")
    ]
    assert len(lines) > 100
    assert all(re.fullmatch(r"[a-z0-9.\-_\[\]]+==[^ ]+( ;.*)?", line) for line in lines)
