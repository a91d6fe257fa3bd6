"""`coordsvc bench faults`."""

import os
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from coordsvc.bench import faults as bench
from coordsvc.cli import show
from coordsvc.cli.bench import JSON, tell


def faults(
    turns: Annotated[int, typer.Option(min=1, max=1_000_000, help="Turns at least.")] = 200,
    rounds: Annotated[
        int, typer.Option(min=1, max=1_000, help="How often each kind of process is killed.")
    ] = 4,
    as_json: JSON = False,
) -> None:
    """Kill agents, engines and the allocator under load, and compare every reply word for word."""
    say = show.steps(Console(stderr=True))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        # Ray prints at length that a process died, whatever it was told of logs
        told = bench.measure(turns, rounds, datetime.now(UTC), say)
    tell(told, as_json=as_json)
