"""`coordsvc bench policies`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from coordsvc.bench import policies as bench
from coordsvc.cli.bench import JSON, tell


def policies(
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Runs of each cell.")] = 30,
    run_s: Annotated[
        float, typer.Option("--seconds", min=1, max=86_400, help="Simulated, of the matrix.")
    ] = 30.0,
    only: Annotated[
        str, typer.Option(help=f"Sections: {', '.join(bench.SECTIONS)}; else all.")
    ] = "",
    quick: Annotated[bool, typer.Option(help="Short, for a test.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    plots: Annotated[
        Path | None, typer.Option(help="Write tables and plots into this folder.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Simulate every policy on every workload, and hold each against what it must show."""
    plan = bench.QUICK if quick else bench.Plan(seeds=seeds, matrix_s=run_s)
    plan = replace(plan, only=_sections(only), workers=workers, plots=plots)
    tell(partial(bench.measure, plan), as_json=as_json)


def _sections(words: str) -> tuple[str, ...]:
    """Return the sections that were named; all where none was."""
    named = tuple(word.strip() for word in words.split(",")) if words else bench.SECTIONS
    for name in named:
        if name not in bench.SECTIONS:
            raise typer.BadParameter(f"--only {name}: there are {', '.join(bench.SECTIONS)}")
    return named
