"""What studies of live runs share: means by kind of run, ratios, tables, C_coord by part."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from coordsvc.experiments.statistics import Interval, mean, ratio
from coordsvc.experiments.study import Figure, Row, Table

MEASURES = {
    "turns a second": "turns_per_s",
    "p50, s": "p50_s",
    "p95, s": "p95_s",
    "C_coord, s": "c_coord_s",
    "S_measured": "s_measured",
    "ideal": "s_ideal",
    "of ideal": "of_ideal",
}
"""Columns of `live.figures`, as tables name them."""
PARTS = ("offer_wait", "engine_queue", "contention", "call", "retry", "ingress")
"""Of C_coord; the others are next to nothing in these runs."""


def by_kind(rows: Sequence[Row], kind: Sequence[str], name: str) -> dict[tuple[str, ...], Interval]:
    """Return a column's mean over blocks and seeds, for each kind of run, in the rows' order."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        value = row.get(name)
        if isinstance(value, int | float):
            found[tuple(str(row[column]) for column in kind)].append(float(value))
    return {key: mean(values) for key, values in found.items()}


def against(rows: Sequence[Row], column: str, ours: str, theirs: str, name: str) -> Interval | None:
    """Return a measure of one kind of run against another's; blocks of a seed are paired.

    None where nothing is there on both sides, or what it is set against is 0 in a block.
    """
    values: dict[str, dict[tuple[object, object], float]] = {ours: {}, theirs: {}}
    for row in rows:
        value = row[name]
        if row[column] in values and isinstance(value, int | float):
            values[str(row[column])][row["seed"], row["block"]] = float(value)
    pairs = [pair for pair in values[ours] if pair in values[theirs]]
    below = [values[theirs][pair] for pair in pairs]
    if min(below, default=0.0) <= 0:
        return None
    return ratio([values[ours][pair] for pair in pairs], below)


def table(rows: Sequence[Row], kind: Mapping[str, str]) -> Table:
    """Return all measures of each kind of run; `kind` names its columns by their titles."""
    columns = tuple(kind.values())
    found = {title: by_kind(rows, columns, name) for title, name in MEASURES.items()}
    keys = list(found["turns a second"])
    return Table(
        title="Means over blocks and seeds, with 95 % intervals",
        columns=(*kind, *MEASURES),
        rows=tuple(
            (
                *key,
                *(found[title][key].shown() if key in found[title] else "-" for title in MEASURES),
            )
            for key in keys
        ),
    )


def parts_figure(rows: Sequence[Row], kind: Sequence[str], caption: str) -> Figure:
    """Return a picture of C_coord by part for each kind of run."""
    means = {part: by_kind(rows, kind, f"{part}_s") for part in PARTS}

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        keys = list(next(iter(means.values())))
        floor = [0.0] * len(keys)
        for part, found in means.items():
            values = [found[key].value for key in keys]
            axes.bar(range(len(keys)), values, bottom=floor, label=part)
            floor = [low + value for low, value in zip(floor, values, strict=True)]
        axes.set_xticks(range(len(keys)), ["\n".join(key) for key in keys])
        axes.set_ylabel("C_coord of a turn, s")
        axes.legend(fontsize=8)

    return Figure(name="parts", caption=caption, draw=draw)
