"""`coordsvc bench`: measurements that print one JSON object each."""

import json
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]


def tell(result: Mapping[str, object], *, as_json: bool) -> None:
    """Print a bench's result: as one JSON line, or as a table."""
    if as_json:
        typer.echo(json.dumps(result))
        return
    shown = Table("figure", "value")
    for name, value in result.items():
        shown.add_row(name, json.dumps(value) if isinstance(value, dict | list) else str(value))
    Console().print(shown)
