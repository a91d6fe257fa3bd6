"""`coordsvc explain`: why an agent, a desk or a turn waits; now, or at some time in a log."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from coordsvc.cli import explained, runs
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import from_plain, to_plain
from coordsvc.core.hindsight.explain import Explanation
from coordsvc.serving.operator import operating

PID = Annotated[int | None, typer.Option("--pid", help="Which service, if several run.")]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def explain(
    address: Annotated[
        str | None,
        typer.Argument(help="Ray's address of a running service; else the one that runs here."),
    ] = None,
    agent: Annotated[str | None, typer.Option(help="An agent, or a tenant of agents.")] = None,
    desk: Annotated[str | None, typer.Option(help="A desk: one replica of an agent.")] = None,
    turn: Annotated[str | None, typer.Option(help="A turn that waits.")] = None,
    log: Annotated[
        Path | None, typer.Option(help="A decision log, in the place of a running service.")
    ] = None,
    at: Annotated[
        float | None, typer.Option(help="Seconds after the log's beginning; else its end.")
    ] = None,
    app: Annotated[str, typer.Option(help="The application's name at ADDRESS.")] = "coordsvc",
    pid: PID = None,
    as_json: JSON = False,
) -> None:
    """Say why something waits: its place in line, the nodes, and what would change it."""
    asked = explained.asked(agent=agent, desk=desk, turn=turn)
    if at is not None and log is None:
        raise BadRequest("--at goes with --log")
    if log is not None:
        told = explained.from_log(log, at, asked)
    else:
        told = from_plain(_from_service(address, app, pid, asked), Explanation)
    if as_json:
        typer.echo(json.dumps(to_plain(told, Explanation)))
        return
    explained.show(told)


def _from_service(address: str | None, app: str, pid: int | None, asked: dict[str, str]) -> Any:
    if address is None:
        run = runs.the_one(pid)
        address, app = run.ray_address, run.app
    with operating(address, app) as operator:
        return operator.explain(**asked)
