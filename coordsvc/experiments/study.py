"""What a study is: cells that are measured one by one, and a conclusion drawn from their rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

Row = dict[str, str | int | float | bool | None]
"""One measurement, flat. All rows of a study have the same columns."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One thing to measure: the smallest part that is done whole or again."""

    key: str
    """Unique within the study, and the same for the same plan: what resuming goes by."""
    settings: Mapping[str, Any]
    """All that it is measured with; JSON."""
    keep: Path | None = None
    """A folder for what else it leaves behind, such as logs; whoever runs it says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run of a study was told."""

    preset: str
    seeds: tuple[int, ...]
    gpus: tuple[int, ...] | None
    """Accelerators of the pools, where the study has a choice; None takes the study's own."""
    engine: str | None
    """The engine's kind, where the study has a choice; None takes the study's own."""
    parameters: Mapping[str, Any]
    """The catalogue's, with the preset's laid over."""


class Verdict(StrEnum):
    """What came of it, in a word."""

    CONFIRMED = "confirmed"
    FALSIFIED = "falsified"
    UNDECIDED = "undecided"
    """The interval holds both answers."""
    MET = "met"
    """A target was reached."""
    MISSED = "missed"
    SHOWN = "shown"
    """There was nothing to decide: figures and pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure, its interval, and what it was wanted to be."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    wanted: str | None = None
    """In words; None where nothing was."""
    met: bool | None = None
    """None where nothing was wanted, or where the interval leaves it open."""
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture of the rows."""

    name: str
    """Of its files, without an ending."""
    caption: str
    draw: Callable[[Any], None]
    """Draws on the matplotlib `Figure` that it is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures side by side."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What the rows say."""

    verdict: Verdict
    says: str
    """One or two sentences: the verdict with its figures."""
    findings: tuple[Finding, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    """More figures, for machines; JSON."""


class Study(Protocol):
    """One study. It keeps nothing between its calls."""

    @property
    def name(self) -> str:
        """Return its name in the catalogue."""
        ...

    def check(self, plan: Plan) -> None:
        """Raise `BadRequest` for what cannot be measured here, as far as that is known before."""
        ...

    def cells(self, plan: Plan) -> list[Cell]:
        """Return what is to be measured, in this order."""
        ...

    def run(self, cell: Cell, say: Say) -> list[Row]:
        """Measure a cell: may take minutes, may start a Ray, and must end what it started."""
        ...

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        """Return what the rows say; some cells' may be missing. Pure."""
        ...
