"""Runs a study: cell by cell into its folder, and in the end, however that comes, its report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.experiments.entries import Entry
from coordsvc.experiments.folder import PLOTS, REPORT, SUMMARY, RunFolder
from coordsvc.experiments.pictures import draw
from coordsvc.experiments.report import page, summary
from coordsvc.experiments.study import Plan, Row, Say
from coordsvc.experiments.versions import versions


def run(entry: Entry, plan: Plan, place: Path, say: Say, *, resume: bool = False) -> dict[str, Any]:
    """Measure what is not measured yet, and return the summary.

    Whatever breaks it off, what was measured is kept and reported as partial, and `resume` goes
    on. Raises `BadRequest` for what cannot be measured, before anything is written.
    """
    _require_libraries()
    study = entry.make()
    study.check(plan)
    cells = study.cells(plan)
    keys = [cell.key for cell in cells]
    assert len(set(keys)) == len(keys), "a cell's key is its own"
    folder = RunFolder(place)
    made_with = versions(datetime.now(UTC))
    if resume:
        folder.resume(entry, plan, made_with)
    else:
        folder.begin(entry, plan, made_with)
    measured = folder.measured()
    try:
        for number, cell in enumerate(cells, 1):
            if cell.key in measured:
                continue
            say(f"{number} of {len(cells)}: {cell.key}")
            rows = study.run(replace(cell, keep=folder.beside(number)), say)
            folder.keep(cell.key, rows)
            measured[cell.key] = rows
    except BaseException as error:
        why = ": ".join(part for part in (type(error).__name__, str(error)) if part)
        _report_what_there_is(
            lambda: _end(entry, plan, folder, [measured.get(key) for key in keys], say, why), say
        )
        raise
    try:
        return _end(entry, plan, folder, [measured.get(key) for key in keys], say)
    except OSError as error:
        raise CoordinationError(
            f"{place}: the report cannot be written ({error.strerror or error}); all that was "
            "measured is there: make room, and write it with --resume"
        ) from error


def _report_what_there_is(report: Callable[[], object], say: Say) -> None:
    """Report a run that is broken off; where that fails too, the first error is the one to hear."""
    try:
        report()
    except Exception as error:  # noqa: BLE001 - another is on its way
        say(f"and there is no report of what was measured: {type(error).__name__}: {error}")


def _require_libraries() -> None:
    """Return if all is there that a run is written with: not to be found missing hours later."""
    for name in ("jinja2", "matplotlib", "pyarrow"):
        try:
            import_module(name)
        except ImportError as error:
            raise BadRequest(
                f"experiments need {name}: pip install 'coordsvc[experiments]'"
            ) from error


def _end(
    entry: Entry,
    plan: Plan,
    folder: RunFolder,
    measured: Sequence[Sequence[Row] | None],
    say: Say,
    why: str = "",
) -> dict[str, Any]:
    """Write table, summary, pictures and report of what there is, and say where."""
    rows = [row for cell in measured if cell is not None for row in cell]
    conclusion = entry.make().conclude(plan, rows) if rows else None
    done = sum(cell is not None for cell in measured)
    told = summary(entry, conclusion, done, len(measured), why)
    folder.write_rows(rows, _columns(entry, rows))
    folder.write_json(SUMMARY, told)
    draw(conclusion.figures if conclusion else (), folder.place / PLOTS)
    folder.write(REPORT, page(entry, folder.place))
    say(f"the report is {folder.place / REPORT}")
    return told


def _columns(entry: Entry, rows: Sequence[Row]) -> Mapping[str, str]:
    """Return what each column is, as the catalogue tells."""
    there = dict.fromkeys(name for row in rows for name in row)  # each once, as first seen
    return {name: str(entry.columns.get(name, "see the study's page")) for name in there}
