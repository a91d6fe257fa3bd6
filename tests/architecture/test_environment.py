"""That a machine which lacks something is told what: tools/setup.sh with poor interpreters."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

TOO_OLD = "#!/bin/sh\nexit 1\n"
WITHOUT_VENV = """#!/bin/sh
case "$2" in *ensurepip* | *virtualenv*) exit 1 ;; esac
exec {python} "$@"
"""


def _setup(root: Path, folder: Path, interpreter: str) -> subprocess.CompletedProcess[str]:
    fake = folder / "python3"
    fake.write_text(interpreter.format(python=sys.executable))
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    return subprocess.run(
        ["sh", "tools/setup.sh", "run"],
        cwd=root,
        env={**os.environ, "PYTHON": str(fake), "VENV": str(folder / "environment")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("interpreter", "remedy"),
    [(TOO_OLD, "Python 3.11 or newer is needed"), (WITHOUT_VENV, "apt-get install python3-venv")],
    ids=["too old", "without venv"],
)
def test_what_is_missing_is_named(
    root: Path, tmp_path: Path, interpreter: str, remedy: str
) -> None:
    ran = _setup(root, tmp_path, interpreter)
    assert ran.returncode == 1
    assert remedy in ran.stderr
    assert not (tmp_path / "environment").exists()
