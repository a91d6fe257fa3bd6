"""`coordsvc bench engine`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from coordsvc.bench import engine as bench
from coordsvc.cli.bench import JSON, tell


def engine(
    dialogues: Annotated[
        Path | None, typer.Option(help="Dialogues in oasst1's schema, JSON lines; else our own.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, max=256, help="Dialogues at a time.")] = 16,
    turns: Annotated[int, typer.Option(min=1, max=100, help="Turns of each dialogue.")] = 2,
    pairs: Annotated[int, typer.Option(min=1, max=20, help="Service and bare, so often.")] = 2,
    as_json: JSON = False,
) -> None:
    """Tokens a second of all agents through the service, over the bare engine's."""
    plan = bench.Plan(clients=clients, turns=turns, pairs=pairs, dialogues=dialogues)
    tell(partial(bench.measure, plan), as_json=as_json)
