"""`coordsvc bench collapse`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from coordsvc.bench import collapse as bench
from coordsvc.cli.bench import JSON, tell

FOLDER = typer.Option(help="Keep the windows of each run here; what is here is not run again.")


def collapse(
    runs: Annotated[
        int, typer.Option(min=1, max=900, help="Collapses, and as many stationary runs.")
    ] = 200,
    quiet: Annotated[
        int | None, typer.Option(min=1, max=900, help="Stationary runs, if not as many.")
    ] = None,
    windows: Annotated[
        int, typer.Option(min=20, max=2_000, help="Of a stationary run; eight times of a diurnal.")
    ] = 50,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    tuning: Annotated[
        bool, typer.Option("--tuning", help="The seeds that the detector was tuned on.")
    ] = False,
    keep: Annotated[Path | None, FOLDER] = None,
    as_json: JSON = False,
) -> None:
    """Let pools break down in simulation, and others not; count warnings, in time and false."""
    plan = bench.Plan(
        runs=runs,
        quiet=quiet or runs,
        windows=windows,
        workers=workers,
        tuning=tuning,
        keep=keep,
    )
    tell(partial(bench.measure, plan), as_json=as_json)
