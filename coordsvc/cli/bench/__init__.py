"""`coordsvc bench`: measurements that print one JSON object each."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.cli import show

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
Measure = Callable[[datetime, Callable[[str], None]], Mapping[str, object]]
"""Takes a measurement, told the time of day and whom to tell of its steps."""


def tell(measure: Measure, *, as_json: bool) -> None:
    """Take a measurement, and print it: as one JSON line, or as a table.

    Whatever else is printed meanwhile goes to stderr: Ray tells of every process that dies.
    """
    say = show.steps(Console(stderr=True))
    with redirect_stdout(sys.stderr):
        result = measure(datetime.now(UTC), say)
    if as_json:
        typer.echo(json.dumps(result))
        return
    shown = Table("figure", "value")
    for name, value in result.items():
        shown.add_row(name, json.dumps(value) if isinstance(value, dict | list) else str(value))
    Console().print(shown)
