"""`coordsvc bench autoscale`."""

from functools import partial
from typing import Annotated

import typer

from coordsvc.bench import autoscale as bench
from coordsvc.cli.bench import JSON, tell


def autoscale(
    nodes: Annotated[int, typer.Option(min=2, max=8, help="Nodes with an accelerator.")] = 3,
    clients: Annotated[int, typer.Option(min=3, max=200, help="Clients under load.")] = 10,
    as_json: JSON = False,
) -> None:
    """Have engines follow C_coord on a simulated cluster: load rises, falls and ends."""
    tell(partial(bench.measure, bench.Plan(nodes=nodes, clients=clients)), as_json=as_json)
