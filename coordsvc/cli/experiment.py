"""`coordsvc experiment`."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.cli import show
from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.experiments import entries, report
from coordsvc.experiments.entries import Entry
from coordsvc.experiments.folder import SETTINGS, SUMMARY
from coordsvc.experiments.runner import run
from coordsvc.experiments.study import Plan

LIST, ALL, RESULTS = "list", "all", "results"
"""Names that are no studies."""
INDEX, RESULTS_FILE = "index.html", "experiments.md"
OUT = Path("experiments")
Say = Callable[[str], None]


def experiment(
    name: Annotated[str, typer.Argument(help=f"A study; {LIST}, {ALL}, or {RESULTS}.")],
    preset: Annotated[str, typer.Option(help="How much of it: full, laptop, test.")] = "laptop",
    engine: Annotated[str | None, typer.Option(help="Where the study has a choice.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Pools, as 2,4,6.")] = None,
    seeds: Annotated[str | None, typer.Option(help="As 101,202,303 or 1-30.")] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"The run's folder; else {OUT}/NAME-date here.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, told the same.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Run a study, and write one folder: rows, figures, plots, a report with the verdict.

    `list` tells which there are, `all` runs them one after the other and makes an index page,
    `results` writes what the runs in --out came to as Markdown.
    """
    if name == LIST:
        _list(as_json=as_json)
        return
    if name == RESULTS:
        _results(out or OUT)
        return
    say = show.steps(Console(stderr=True))
    options = {
        "seeds": None if seeds is None else entries.numbers(seeds, "--seeds"),
        "gpus": None if gpus is None else entries.numbers(gpus, "--gpus"),
        "engine": engine,
    }
    with redirect_stdout(sys.stderr), _ending_by_sigterm():  # Ray prints, too
        if name == ALL:
            told = _all(preset, options, out or OUT, say, resume=resume)
        else:
            told = _one(name, preset, options, out, say, resume=resume)
    if as_json:
        typer.echo(json.dumps(told))


@contextmanager
def _ending_by_sigterm() -> Iterator[None]:
    """Have a polite signal end a study as Ctrl-C does: with a report of what there is."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one(
    name: str,
    preset: str,
    options: dict[str, Any],
    out: Path | None,
    say: Say,
    *,
    resume: Path | None,
) -> dict[str, Any]:
    found = entries.entry(name)
    plan = entries.plan(found, preset, **options)
    if resume is not None and out is not None and out != resume:
        raise BadRequest("--out and --resume name two folders; --resume alone is right")
    place = resume or out or OUT / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return _run(found, plan, place, say, resume=resume is not None)


def _run(found: Entry, plan: Plan, place: Path, say: Say, *, resume: bool) -> dict[str, Any]:
    say(f"{found.title}: into {place}")
    told = run(found, plan, place, say, resume=resume)
    say(f"{told['verdict']}: {told['says']}")
    return {**told, "folder": str(place)}


def _all(
    preset: str, options: dict[str, Any], out: Path, say: Say, *, resume: Path | None
) -> dict[str, Any]:
    """Run each study; one that fails is told, and does not keep the others from running."""
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise BadRequest(f"--{given[0]} is one study's; `all` runs each with its own")
    out = resume or out
    told: dict[str, Any] = {}
    failed: dict[str, str] = {}
    studies = [entries.entry(name) for name in entries.names()]
    if not any(preset in found.presets for found in studies):
        raise BadRequest(f"no study has a preset {preset!r}")
    for found in studies:
        if preset not in found.presets:
            say(f"{found.name}: has no preset {preset}")
            continue
        place = out / found.name
        begun = (place / SETTINGS).exists()
        try:
            told[found.name] = _run(found, entries.plan(found, preset), place, say, resume=begun)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others shall run
            failed[found.name] = f"{type(error).__name__}: {error}"
            say(f"{found.name}: failed: {failed[found.name]}")
    if any(out.glob(f"*/{SUMMARY}")):
        (out / INDEX).write_text(report.index(out), encoding="utf-8")
        say(f"the index is {out / INDEX}")
    if failed:
        raise CoordinationError(f"studies that failed: {', '.join(failed)}; see above")
    return {"studies": told, "index": str(out / INDEX)}


def _list(*, as_json: bool) -> None:
    found = [entries.entry(name) for name in entries.names()]
    if as_json:
        typer.echo(
            json.dumps(
                {
                    one.name: {
                        "title": one.title,
                        "question": one.question,
                        "presets": list(one.presets),
                    }
                    for one in found
                }
            )
        )
        return
    table = Table("study", "asks", "presets")
    for one in found:
        table.add_row(one.name, one.question, ", ".join(one.presets))
    Console().print(table)


def _results(folder: Path) -> None:
    """Write the Markdown and the index of the runs in a folder."""
    (folder / RESULTS_FILE).write_text(report.markdown(folder), encoding="utf-8")
    (folder / INDEX).write_text(report.index(folder), encoding="utf-8")
    typer.echo(str(folder / RESULTS_FILE))
