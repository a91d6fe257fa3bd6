"""`coordsvc bench allocator`."""

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from coordsvc.bench import allocator as bench
from coordsvc.cli.bench import JSON, tell


def allocator(
    nodes: Annotated[str, typer.Option(help="Node counts.")] = "100,1000,10000,50000",
    leases: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Leases measured in each pool.")
    ] = 10_000,
    quick: Annotated[bool, typer.Option(help="Small and short, for a test.")] = False,
    ray: Annotated[bool, typer.Option(help="Also measure what needs Ray.")] = True,
    as_json: JSON = False,
) -> None:
    """Measure what a lease costs the allocator in pools of every size, and what it costs others."""
    plan = bench.QUICK if quick else bench.Plan(nodes=bench.counts(nodes), leases=leases)
    tell(partial(bench.measure, replace(plan, with_ray=ray)), as_json=as_json)
