"""`coordsvc bench faults`."""

from functools import partial
from typing import Annotated

import typer

from coordsvc.bench import faults as bench
from coordsvc.cli.bench import JSON, tell


def faults(
    turns: Annotated[int, typer.Option(min=1, max=1_000_000, help="Turns at least.")] = 200,
    rounds: Annotated[
        int, typer.Option(min=1, max=1_000, help="How often each kind of process is killed.")
    ] = 4,
    as_json: JSON = False,
) -> None:
    """Kill agents, engines and the allocator under load, and compare every reply word for word."""
    tell(partial(bench.measure, turns, rounds), as_json=as_json)
