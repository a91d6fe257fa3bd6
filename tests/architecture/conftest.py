"""What the tests of the house look at: its files, as they stand."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNSEEN = frozenset({"__pycache__", "build", "dist"})
"""Folders that are not the project's, beside hidden ones."""


def _listed_by_git() -> list[Path]:
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [path for name in told.split("\0") if name and (path := ROOT / name).is_file()]


def _found_by_walking() -> list[Path]:
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not any(map(_is_unseen, path.relative_to(ROOT).parts[:-1]))
    ]


def _is_unseen(folder: str) -> bool:
    hidden = folder.startswith(".") and folder != ".ci"
    return hidden or folder in UNSEEN or folder.endswith(".egg-info")


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file of the project: what git has, or would have after `git add`."""
    return sorted(_listed_by_git() or _found_by_walking())
