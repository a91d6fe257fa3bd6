"""What a run was made with."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import coordsvc
from coordsvc.experiments.versions import commit, versions

COMMIT = "3f2c" * 10


@pytest.fixture
def git(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path / ".git"


def test_it_names_the_day_the_machine_and_the_libraries() -> None:
    told = versions(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert told["coordsvc"] == coordsvc.__version__
    assert told["date"] == "2026-01-02T03:04:05+00:00"
    assert told["cores"] >= 1
    assert told["versions"]["numpy"][0].isdigit()


def test_a_checkout_knows_its_commit(git: Path) -> None:
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").write_text(f"{COMMIT}\n")
    assert commit(git.parent) == COMMIT


def test_so_does_one_without_a_branch_and_one_whose_branches_are_packed(git: Path) -> None:
    (git / "HEAD").write_text(f"{COMMIT}\n")
    assert commit(git.parent) == COMMIT
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{'0' * 40} refs/heads/old-main\n{COMMIT} refs/heads/main\n"
    )
    assert commit(git.parent) == COMMIT


@pytest.mark.parametrize("head", [None, "ref: refs/heads/main\n", "\u00e4"])
def test_what_is_no_checkout_has_none(git: Path, head: str | None) -> None:
    if head is not None:
        (git / "HEAD").write_text(head)
    assert commit(git.parent) is None


def test_sources_that_were_installed_have_none(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
