"""That a skip can be forbidden: tests/conftest.py, tried on small runs of pytest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = {
    "a test": "import pytest\ndef test_a(): pytest.skip('no time')\n",
    "a mark": "import pytest\n@pytest.mark.skip(reason='no time')\ndef test_a(): pass\n",
    "a module": "import pytest\npytest.skip('no time', allow_module_level=True)\n",
}
HARDWARE = "import pytest\ndef test_a(): pytest.skip('needs hardware: a GPU')\n"
ABSENT = "import pytest\ndef test_a(): pytest.skip('not here: definitions of kinds')\n"
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_a(): assert False\n"


def _run(
    root: Path, folder: Path, test: str, *, no_skips: bool
) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((root / "tests/conftest.py").read_text())
    (folder / "test_case.py").write_text(f"{test}\ndef test_b(): pass\n")
    env = {**os.environ, "COORDSVC_NO_SKIPS": "1" if no_skips else "0"}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            folder,
            folder,
        ],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize("test", CASES.values(), ids=CASES.keys())
def test_a_skip_fails_the_run_and_says_why(root: Path, tmp_path: Path, test: str) -> None:
    ran = _run(root, tmp_path, test, no_skips=True)
    assert ran.returncode != 0
    assert "no time" in ran.stdout


@pytest.mark.parametrize(
    "test", [HARDWARE, ABSENT, EXPECTED_FAILURE], ids=["hardware", "not here", "xfail"]
)
def test_what_cannot_run_here_fails_nothing(root: Path, tmp_path: Path, test: str) -> None:
    assert _run(root, tmp_path, test, no_skips=True).returncode == 0


def test_skips_are_allowed_where_nothing_forbids_them(root: Path, tmp_path: Path) -> None:
    assert _run(root, tmp_path, CASES["a test"], no_skips=False).returncode == 0
