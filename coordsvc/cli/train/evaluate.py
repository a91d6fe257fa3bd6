"""`coordsvc train evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.training import adapters, prepared
from coordsvc.training import evaluate as work
from coordsvc.training.origin import origin


def evaluate(
    adapter: Annotated[Path, typer.Option(help="A folder that `train finetune` wrote.")],
    data: Annotated[Path, typer.Option(help="A folder that `train prepare` wrote.")],
    base: Annotated[str | None, typer.Option(help="Where the base is now, if it moved.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Held-out samples to look at.")] = 256,
    beside: Annotated[int, typer.Option(min=0, max=100, help="Replies to show.")] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Compare an adapter with its base on samples that neither has been trained on."""
    found = adapters.read(adapter)
    told = work.compare(
        found, prepared.load(data), origin(base or found.card.base), most=most, beside=beside
    )
    if as_json:
        typer.echo(json.dumps(told.as_json()))
        return
    shown = Table("", "base", "adapter", title=f"{told.agent}, {told.samples} held-out samples")
    shown.add_row("loss, nats", f"{told.base.held_out:.4f}", f"{told.adapter.held_out:.4f}")
    shown.add_row("perplexity", f"{told.base.perplexity:.2f}", f"{told.adapter.perplexity:.2f}")
    if told.base.balanced_accuracy is not None and told.adapter.balanced_accuracy is not None:
        right = (told.base.balanced_accuracy, told.adapter.balanced_accuracy)
        shown.add_row("balanced accuracy", *(f"{one:.3f}" for one in right))
    console = Console()
    console.print(shown)
    for one in told.beside:
        console.print(Table.grid(), f"asked:   {one.asked}", markup=False, highlight=False)
        for who, said in (("target", one.target), ("base", one.base), ("adapter", one.adapter)):
            console.print(f"{who + ':':<9}{said}", markup=False, highlight=False)
