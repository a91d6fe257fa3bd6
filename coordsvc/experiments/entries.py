"""The studies there are: one TOML each, in `catalogue/`, beside the code that measures them."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.resources import files
from typing import Any, cast

from coordsvc.core.errors import BadRequest
from coordsvc.experiments.study import Plan, Study

SEEDS_MAX = 1_000
NUMBER_MAX = 2**63 - 1
"""What a column of whole numbers holds."""
FOLDER = "catalogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A study, as its TOML tells of it."""

    name: str
    title: str
    question: str
    hypothesis: str | None
    """What is confirmed or falsified; None where nothing is claimed."""
    measured: str
    """How."""
    real: str
    emulated: str
    simulated: str
    """What is what: each in a sentence, empty where nothing is."""
    study: str
    """module:class"""
    seeds: tuple[int, ...]
    gpus: tuple[int, ...] | None = None
    engines: tuple[str, ...] = ()
    """Kinds that it can be run with; the first is its own. None: it has no choice."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    """What each column of the rows is, with its unit."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name, what replaces parameters, and perhaps `seeds` and `gpus`."""

    def make(self) -> Study:
        """Return the study's code."""
        module, _, name = self.study.partition(":")
        return cast("Study", getattr(import_module(module), name)())


def names() -> list[str]:
    """Return all studies' names."""
    there = files("coordsvc.experiments") / FOLDER
    return sorted(
        one.name.removesuffix(".toml") for one in there.iterdir() if one.name.endswith(".toml")
    )


def entry(name: str) -> Entry:
    """Return a study; raise `BadRequest` if there is none of this name."""
    known = names()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
        raise BadRequest(f"there is no study {name!r}{hint}")
    text = (files("coordsvc.experiments") / FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    return _entry(name, tomllib.loads(text))


def plan(
    found: Entry,
    preset: str,
    *,
    seeds: tuple[int, ...] | None = None,
    gpus: tuple[int, ...] | None = None,
    engine: str | None = None,
) -> Plan:
    """Return what a run is told: the study's own, the preset's over it, and what was asked last.

    Raises `BadRequest` for a preset, an engine or seeds that cannot be.
    """
    if preset not in found.presets:
        raise BadRequest(
            f"{found.name} has no preset {preset!r}; there are {', '.join(found.presets)}"
        )
    laid = dict(found.presets[preset])
    preset_seeds = _tuple(laid.pop("seeds", None)) or found.seeds
    preset_gpus = _tuple(laid.pop("gpus", None)) or found.gpus
    unknown = laid.keys() - found.parameters.keys()
    if unknown:
        raise BadRequest(
            f"{found.name}: preset {preset} sets {min(unknown)}, which is no parameter"
        )
    if gpus is not None and found.gpus is None:
        raise BadRequest(f"{found.name} has no choice of accelerators; leave --gpus out")
    if engine is not None and engine not in found.engines:
        kinds = ", ".join(found.engines) or "none: it starts no engine"
        raise BadRequest(f"{found.name} cannot be run with engine {engine!r}; it can with {kinds}")
    return Plan(
        preset=preset,
        seeds=_checked(seeds or preset_seeds),
        gpus=_positive(gpus or preset_gpus),
        engine=engine or (found.engines[0] if found.engines else None),
        parameters={**found.parameters, **laid},
    )


def numbers(told: str, what: str) -> tuple[int, ...]:
    """Return the numbers in a list such as `1,2,5-8`; raise `BadRequest`."""
    found: list[int] = []
    for part in told.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last) if dash else int(first)
        except ValueError:
            raise BadRequest(
                f"{what} {told}: {part.strip()!r} is no number; 1,2,5-8 is right"
            ) from None
        if high > NUMBER_MAX:
            raise BadRequest(f"{what}: {high} is too large; {NUMBER_MAX} at most is right")
        if not low <= high or high - low >= SEEDS_MAX:
            raise BadRequest(
                f"{what} {told}: {part.strip()} is no range upwards of at most {SEEDS_MAX}"
            )
        found += range(low, high + 1)
    return tuple(found)


def _checked(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not 1 <= len(seeds) <= SEEDS_MAX:
        raise BadRequest(f"{len(seeds)} seeds; 1 to {SEEDS_MAX} are right")
    doubled = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if doubled:
        raise BadRequest(
            f"seed {doubled[0]} is named twice: the same run would count as two; name each once"
        )
    return seeds


def _positive(gpus: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if gpus is not None and (min(gpus) < 1 or len(set(gpus)) < len(gpus)):
        raise BadRequest(f"pools of {gpus} accelerators: at least 1, and each size once, is right")
    return gpus


def _tuple(told: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if told is None else tuple(told)


def _entry(name: str, told: Mapping[str, Any]) -> Entry:
    what = told["what"]
    return Entry(
        name=name,
        title=told["title"],
        question=told["question"],
        hypothesis=told.get("hypothesis"),
        measured=told["measured"],
        real=what.get("real", ""),
        emulated=what.get("emulated", ""),
        simulated=what.get("simulated", ""),
        study=told["study"],
        seeds=tuple(told["seeds"]),
        gpus=_tuple(told.get("gpus")),
        engines=tuple(told.get("engines", ())),
        parameters=told.get("parameters", {}),
        columns=told.get("columns", {}),
        presets=told["presets"],
    )
