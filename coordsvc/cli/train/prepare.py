"""`coordsvc train prepare`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.cli import show
from coordsvc.training import sources
from coordsvc.training.prepared import SPLITS, Options, Prepared
from coordsvc.training.prepared import prepare as make
from coordsvc.training.trees import Wanted


def prepare(
    dataset: Annotated[
        str, typer.Option(help="owner/name on the hub, or a file of messages (.jsonl, .jsonl.gz).")
    ] = "openassistant/oasst1",
    revision: Annotated[
        str | None, typer.Option(help="Of the hub's dataset: a commit makes it repeatable.")
    ] = None,
    turns: Annotated[int, typer.Option(min=1, max=32, help="Exchanges in a prompt at most.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of which trees are held out.")] = 42,
    held_out: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of trees kept for evaluation.")
    ] = 0.1,
    lang: Annotated[str, typer.Option(help="Messages in other languages are dropped.")] = "en",
    text_max: Annotated[
        int, typer.Option(min=1, help="Characters of a message; longer ones are dropped.")
    ] = 4_000,
    out: Annotated[
        Path | None, typer.Option(help="The samples' folder; else one in your cache.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out lines that are no JSON, and count them.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Make samples for planner, responder and checker of conversation trees, once for each source.

    Prompts are those that the service sends. A tree is for training or for evaluation as a whole.
    """
    say = show.steps(Console(stderr=True))
    source = sources.find(dataset, revision, skip_bad=skip_bad)
    wanted = Wanted(lang=lang, text_max=text_max)
    options = Options(turns=turns, seed=seed, held_out=held_out, wanted=wanted)
    prepared, made = make(source, options, out, say)
    if as_json:
        told = {**prepared.manifest, "folder": str(prepared.folder), "reused": not made}
        typer.echo(json.dumps(told))
        return
    _print(prepared)


def _print(prepared: Prepared) -> None:
    console, told = Console(), prepared.manifest
    table = Table("agent", *(f"{split.replace('_', ' ')}" for split in SPLITS), title="samples")
    counts = told["samples"]
    for agent in sorted({agent for split in SPLITS for agent in counts[split]}):
        table.add_row(agent, *(str(counts[split].get(agent, 0)) for split in SPLITS))
    table.add_row("trees", *(str(told["trees"][split]) for split in SPLITS))
    console.print(table)
    for what in ("messages", "samples"):
        dropped = told[f"dropped_{what}"]
        if dropped:
            reasons = ", ".join(
                f"{count} {name.replace('_', ' ')}" for name, count in dropped.items()
            )
            console.print(f"{what} dropped: {reasons}", highlight=False)
    console.print(f"in {prepared.folder}", highlight=False, soft_wrap=True)
