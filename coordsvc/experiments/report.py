"""A run as one page to read, a folder of runs as an index, and their figures for the docs."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coordsvc.core.errors import BadRequest
from coordsvc.experiments.entries import Entry
from coordsvc.experiments.folder import PLOTS, REPORT, SETTINGS, SUMMARY, VERSIONS
from coordsvc.experiments.statistics import short
from coordsvc.experiments.study import Conclusion, Finding

CODE = re.compile("`([^`]+)`")


def summary(
    entry: Entry, conclusion: Conclusion | None, done: int, cells: int, why: str
) -> dict[str, Any]:
    """Return what a run came to, as JSON; `why` it ended early, if it did."""
    told: dict[str, Any] = {
        "study": entry.name,
        "title": entry.title,
        "question": entry.question,
        "hypothesis": entry.hypothesis,
        "partial": done < cells,
        "cells": cells,
        "cells_done": done,
        "ended_early": why or None,
    }
    if conclusion is None:
        nothing: dict[str, Any] = {"findings": [], "tables": [], "figures": []}
        return {**told, "verdict": None, "says": "nothing was measured", **nothing}
    return {
        **told,
        "verdict": conclusion.verdict.value,
        "says": conclusion.says,
        "findings": [_finding(one) for one in conclusion.findings],
        "tables": [
            {"title": one.title, "columns": one.columns, "rows": one.rows}
            for one in conclusion.tables
        ],
        "figures": [{"name": one.name, "caption": one.caption} for one in conclusion.figures],
        **({"more": conclusion.summary} if conclusion.summary else {}),
    }


def page(entry: Entry, folder: Path) -> str:
    """Return a run's report as one HTML page, pictures inside."""
    told = _read(folder)
    pictures = [
        {**one, "data": _inside(folder / PLOTS / f"{one['name']}.png")}
        for one in told["summary"]["figures"]
    ]
    return str(
        _templates()
        .get_template("report.html")
        .render(entry=entry, pictures=pictures, **told, shown=shown, ranges=_ranges)
    )


def index(folder: Path) -> str:
    """Return a page that leads to every run in the folders below."""
    runs = [{"link": f"{name}/{REPORT}", **told} for name, told in _runs(folder)]
    made = (run["versions"] for run in runs)
    machines = dict.fromkeys(f"{one['cores']} cores, {one['cpu']}" for one in made)
    return str(_templates().get_template("index.html").render(runs=runs, machines=list(machines)))


def markdown(folder: Path) -> str:
    """Return the runs in the folders below, for the documentation."""
    return "\n".join(_markdown(_runs(folder))) + "\n"


def _markdown(runs: Iterable[tuple[str, dict[str, Any]]]) -> Iterable[str]:
    yield "# Results of the studies"
    yield ""
    yield "Written by `coordsvc experiment results` from what the studies wrote."
    for _, told in runs:
        said, made = told["summary"], told["versions"]
        yield from ("", f"## {said['title']}", "", said["question"])
        if said["hypothesis"]:
            yield from ("", f"Hypothesis: {said['hypothesis']}")
        partial = ", **partial**" if said["partial"] else ""
        yield from ("", f"**{said['verdict'] or 'nothing'}**{partial}. {said['says']}", "")
        if said["findings"]:
            yield from ("| figure | | wanted | |", "|---|---|---|---|")
            for one in said["findings"]:
                says, wanted = one["says"] or one["name"], one["wanted"] or ""
                yield f"| {_cell(says)} | {shown(one)} | {_cell(wanted)} | {_met(one)} |"
            yield ""
        plan = told["settings"]
        command = f"coordsvc experiment {said['study']} --preset {plan['preset']}"
        yield (
            f"`{command}`, seeds {_ranges(plan['seeds'])}; {str(made['date'])[:10]}, "
            f"commit {str(made['commit'])[:12]}, {made['cores']} cores ({made['cpu']}). "
            f"What is emulated and what is real: [the study](../studies/{said['study']}.md)."
        )


def shown(finding: Mapping[str, Any]) -> str:
    """Return a finding's value with its interval."""
    if finding["value"] is None:
        return "-"
    value = short(finding["value"])
    unit = f" {finding['unit']}" if finding["unit"] else ""
    if finding["low"] is None or finding["low"] == finding["high"]:
        return f"{value}{unit}"
    return f"{value} [{short(finding['low'])}, {short(finding['high'])}]{unit}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _met(finding: Mapping[str, Any]) -> str:
    if finding["wanted"] is None:
        return ""
    return {True: "met", False: "missed", None: "open"}[finding["met"]]


def _ranges(seeds: Sequence[int]) -> str:
    """Return seeds as they are typed: 1-5,9."""
    parts: list[str] = []
    run: list[int] = []
    for seed in [*seeds, None]:
        if run and seed != run[-1] + 1:
            parts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]))
            run = []
        if seed is not None:
            run.append(seed)
    return ",".join(parts)


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "name": one.name,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "unit": one.unit,
        "wanted": one.wanted,
        "met": one.met,
        "says": one.says,
    }


def _runs(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    found = sorted(path.parent for path in folder.glob(f"*/{SUMMARY}"))
    if not found:
        raise BadRequest(f"{folder}: holds no runs of studies")
    return [(path.name, _read(path)) for path in found]


def _read(folder: Path) -> dict[str, Any]:
    names = {"summary": SUMMARY, "settings": SETTINGS, "versions": VERSIONS}
    try:
        return {
            what: json.loads((folder / name).read_text(encoding="utf-8"))
            for what, name in names.items()
        }
    except (OSError, ValueError) as error:
        raise BadRequest(f"{folder}: is no run of a study: {error}") from error


def _inside(picture: Path) -> str:
    return base64.b64encode(picture.read_bytes()).decode("ascii")


def _templates() -> Any:
    import jinja2  # noqa: PLC0415 - an extra, asked for before
    import markupsafe  # noqa: PLC0415 - jinja2's own

    def marked(text: str) -> markupsafe.Markup:
        """Return a catalogue's text with what stands in backquotes as code."""
        return markupsafe.Markup(CODE.sub(r"<code>\1</code>", str(markupsafe.escape(text))))  # noqa: S704 - escaped

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("coordsvc.experiments"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["marked"] = marked
    return made
