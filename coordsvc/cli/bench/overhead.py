"""`coordsvc bench overhead`."""

from functools import partial
from typing import Annotated

import typer

from coordsvc.bench import overhead as bench
from coordsvc.cli.bench import JSON, tell


def overhead(
    rounds: Annotated[int, typer.Option(min=1, max=1_000, help="Interleaved rounds.")] = 10,
    proxy: Annotated[bool, typer.Option(help="Also ask through Serve's proxy.")] = False,
    as_json: JSON = False,
) -> None:
    """Compare a turn through offers with the same chain without, on engines that cost nothing."""
    variants = [bench.OFFERS, bench.NO_DESK, bench.PLAIN, *([bench.PROXY] if proxy else [])]
    tell(partial(bench.measure, rounds, variants), as_json=as_json)
