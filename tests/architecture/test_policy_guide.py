"""That the guide's policy works: its code is run as it stands there."""

import re
import sys
import types
from pathlib import Path

import pytest

from coordsvc.core.policies import Ordering
from coordsvc.core.policies.catalogue import NAMES

GUIDE = "docs/guides/write-a-policy.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
IN_PACKAGE = "coordsvc.core.policies.shortest_rest"


@pytest.fixture
def guide(root: Path) -> str:
    return (root / GUIDE).read_text()


def run(text: str, module: types.ModuleType) -> None:
    exec(compile(text, f"{GUIDE}: {module.__name__}", "exec"), vars(module))


def test_the_guides_policy_passes_the_guides_tests(
    guide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, tests = BLOCK.findall(guide)
    module, tested = types.ModuleType(IN_PACKAGE), types.ModuleType("tested")
    monkeypatch.setitem(sys.modules, IN_PACKAGE, module)
    run(policy, module)
    run(tests, tested)
    told = [test for name, test in vars(tested).items() if name.startswith("test_")]
    for test in told:
        test()
    assert len(told) == 3
    assert issubclass(module.ShortestRest, Ordering)


def test_it_is_fifty_lines_as_promised(guide: str) -> None:
    policy, _ = BLOCK.findall(guide)
    assert len(policy.splitlines()) <= 50


def test_the_guide_lists_the_policies_that_there_are(guide: str) -> None:
    assert tuple(ROW.findall(guide)) == NAMES
