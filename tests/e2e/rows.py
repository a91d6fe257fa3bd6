"""What a study has measured, and sums of it."""

from collections.abc import Sequence
from pathlib import Path

from coordsvc.experiments.folder import RunFolder
from coordsvc.experiments.study import Row


def rows_in(place: Path) -> list[Row]:
    return [row for rows in RunFolder(place).measured().values() for row in rows]


def total(rows: Sequence[Row], name: str, **where: object) -> float:
    them = [row for row in rows if all(row[column] == value for column, value in where.items())]
    assert them, where
    return sum(float(row[name] or 0) for row in them)
