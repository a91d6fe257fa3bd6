"""`coordsvc bench account`."""

from functools import partial
from typing import Annotated

import typer

from coordsvc.bench import account as bench
from coordsvc.cli.bench import JSON, tell


def account(
    turns: Annotated[int, typer.Option(min=8, max=100_000, help="Real turns.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, max=1_000, help="Pairs of turns for a part.")] = 11,
    as_json: JSON = False,
) -> None:
    """How much of real turns is unexplained, and whether delays are found where they are put."""
    plan = bench.Plan(turns=turns, rounds=rounds)
    tell(partial(bench.measure, plan), as_json=as_json)
