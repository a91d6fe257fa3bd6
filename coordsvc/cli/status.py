"""`coordsvc status` and `coordsvc down`: what runs here, and its end."""

import asyncio
import json
import os
import signal
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.cli import runs
from coordsvc.cli.client import Client, ServiceError, connected

DOWN_S_MAX = 60.0
METRICS_SHOWN = ("coordsvc_allocator_epoch", "coordsvc_nodes", "coordsvc_broken_reservations")

PID = Annotated[int | None, typer.Option("--pid", help="Which service, if several run.")]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def status(pid: PID = None, as_json: JSON = False) -> None:
    """Tell what runs here, whether it is ready, and what its pool looks like."""
    run = runs.the_one(pid)
    told = {**asdict(run), **asyncio.run(_ask(run))}
    if as_json:
        typer.echo(json.dumps(told))
        return
    shown = Table(show_header=False)
    for name, value in told.items():
        shown.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
    Console().print(shown)


def down(pid: PID = None) -> None:
    """Stop a service cleanly: it drains, ends its own Ray, and leaves nothing behind."""
    run = runs.the_one(pid)
    os.kill(run.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_S_MAX
    while any(other.pid == run.pid for other in runs.alive()):
        if time.monotonic() > deadline:
            raise ServiceError(f"process {run.pid} has not stopped after {DOWN_S_MAX:.0f} s")
        time.sleep(0.2)
    typer.echo(f"stopped {run.url}")


async def _ask(run: runs.Run) -> dict[str, Any]:
    async with connected(run.direct_url) as client:
        ready: bool | str = True
        try:
            await client.get("/readyz")
        except ServiceError as error:
            ready = str(error)
        return {
            "ready": ready,
            "model": await client.model(),
            "metrics": await _metrics(client, run.metrics_url),
        }


async def _metrics(client: Client, url: str) -> dict[str, float]:
    """Return the pool's figures from the metrics page."""
    told: dict[str, float] = {}
    for line in (await client.text(url)).splitlines():
        name, _, value = line.rpartition(" ")
        if name in METRICS_SHOWN or name.startswith(("coordsvc_alloc{", "coordsvc_turns_total{")):
            told[name] = float(value)
    return told
