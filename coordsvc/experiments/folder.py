"""One run's folder: what it was told, every row, what they say; whole or partial, and it says so.

settings.json   the plan; what resuming compares      rows.jsonl    a line a cell, as measured
versions.json   libraries, machine, date              rows.parquet  the same, as one table
summary.json    verdict, findings, intervals          plots/        PNG and SVG
report.html     all of it, to read                    README.md     what the columns are
cells/          what else a cell left behind, by its number in the plan
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.experiments.entries import Entry
from coordsvc.experiments.study import Plan, Row

FORMAT = 1
SETTINGS, VERSIONS, ROWS, SUMMARY = "settings.json", "versions.json", "rows.jsonl", "summary.json"
PARQUET, README, REPORT, PLOTS = "rows.parquet", "README.md", "report.html", "plots"
CELLS = "cells"


class RunFolder:
    """A folder that a run writes, and may go on writing."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def begin(self, entry: Entry, plan: Plan, versions: Mapping[str, Any]) -> None:
        """Make the folder for a run; raise `BadRequest` if something is there already."""
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            taken = any(self.place.iterdir())
        except OSError as error:
            raise BadRequest(f"{self.place}: cannot be made: {error.strerror}") from error
        if taken:
            raise BadRequest(
                f"{self.place}: is not empty; name another --out, or go on with --resume"
            )
        self.write_json(VERSIONS, versions)
        self.write_json(SETTINGS, _settings(entry, plan))  # last: with it, it is a run

    def resume(self, entry: Entry, plan: Plan, versions: Mapping[str, Any]) -> None:
        """Go on with the run in the folder; raise `BadRequest` if it is none, or another one.

        With what it goes on is noted beside what it was begun with.
        """
        try:
            found = _flat(json.loads((self.place / SETTINGS).read_text(encoding="utf-8")))
            begun = json.loads((self.place / VERSIONS).read_text(encoding="utf-8"))
            later = [*begun.get("resumed", []), dict(versions)]
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise BadRequest(f"{self.place}: holds no run to go on with: {error}") from error
        wanted = _flat(json.loads(json.dumps(_settings(entry, plan))))
        differ = [name for name in wanted | found if found.get(name) != wanted.get(name)]
        if differ:
            was, now = (json.dumps(told.get(differ[0])) for told in (found, wanted))
            raise BadRequest(
                f"{self.place}: holds another run: {differ[0]} was {was}, and is {now}; go on with "
                "what it was begun with"
            )
        self.write_json(VERSIONS, {**begun, "resumed": later})

    def measured(self) -> dict[str, list[Row]]:
        """Return the rows by their cells; a last line that a kill cut short is left out."""
        path = self.place / ROWS
        if not path.exists():
            return {}
        there = path.read_bytes()
        whole = there[: there.rfind(b"\n") + 1]
        if whole != there:
            os.truncate(path, len(whole))  # written anew, a kill now would lose all of it
        cells: dict[str, list[Row]] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                told = json.loads(line)
                cells[told["cell"]] = told["rows"]
            except (ValueError, KeyError, TypeError) as error:
                raise BadRequest(f"{path}, line {number}: is no measured cell: {error}") from error
        return cells

    def keep(self, cell: str, rows: Sequence[Row]) -> None:
        """Write a cell's rows; they survive whatever comes after."""
        line = json.dumps({"cell": cell, "rows": list(rows)}, allow_nan=False) + "\n"
        try:
            with (self.place / ROWS).open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CoordinationError(
                f"{self.place / ROWS}: cannot be written ({error.strerror}); what was measured "
                "before is there: make room, and go on with --resume"
            ) from error

    def beside(self, number: int) -> Path:
        """Return where a cell may leave more than rows, without what a try that was killed left."""
        place = self.place / CELLS / f"{number:03d}"
        shutil.rmtree(place, ignore_errors=True)
        return place

    def write_rows(self, rows: Sequence[Row], columns: Mapping[str, str]) -> None:
        """Write the table of all rows, and what its columns are."""
        from pyarrow import Table, parquet  # noqa: PLC0415 - an extra, asked for before

        if rows:
            there = {name: [row.get(name) for row in rows] for name in columns}
            draft = self.place / f".{PARQUET}.draft"
            parquet.write_table(Table.from_pydict(there), draft)
            draft.replace(self.place / PARQUET)
        lines = [f"- `{name}`: {says}" for name, says in columns.items()]
        text = "# What the columns of rows.parquet are\n\n" + "\n".join(lines) + "\n"
        self.write(README, text)

    def write_json(self, name: str, told: Mapping[str, Any]) -> None:
        """Write a document."""
        self.write(name, json.dumps(told, indent=1, sort_keys=True, allow_nan=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text beside its place, and then there."""
        draft = self.place / f".{name}.draft"
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.place / name)


def _settings(entry: Entry, plan: Plan) -> dict[str, Any]:
    return {"format": FORMAT, "study": entry.name, **asdict(plan)}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with a name for each parameter, which come last."""
    told = {name: value for name, value in settings.items() if name != "parameters"}
    parameters = settings.get("parameters", {})
    return told | {f"parameter {name}": value for name, value in parameters.items()}
