"""`coordsvc train quantise`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.training import quantise as work
from coordsvc.training.origin import origin

MB = 1_000_000


class To(StrEnum):
    """What weights can be packed as."""

    NF4 = "nf4"
    INT8 = "int8"


def quantise(
    model: Annotated[str, typer.Argument(help="A hub id, a folder, a .gguf or package:<name>.")],
    to: Annotated[To, typer.Option(help="What its weights become.")],
    text: Annotated[
        Path | None, typer.Option(help="To measure perplexity by; else a page of our own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it; else nowhere.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Pack a model's weights into fewer bits; say what it saves and what it costs."""
    told = work.quantise(origin(model), to.value, text, out)
    if as_json:
        typer.echo(json.dumps(told.as_json()))
        return
    shown = Table("", "before (bfloat16)", f"after ({to.value})", "change")
    for name, before, after in (
        ("in memory, MB", told.before.memory_bytes / MB, told.after.memory_bytes / MB),
        ("on disk, MB", told.before.disk_bytes / MB, told.after.disk_bytes / MB),
        ("perplexity", told.before.perplexity, told.after.perplexity),
    ):
        shown.add_row(name, f"{before:,.2f}", f"{after:,.2f}", f"{after / before - 1:+.1%}")
    Console().print(shown)
    typer.echo(f"perplexity over {told.text_tokens} tokens of {told.text}")
