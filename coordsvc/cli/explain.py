"""`coordsvc explain`: why an agent, a desk or a turn waits; now, or at some time in a log."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.cli import log_files, runs
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import from_plain, to_plain
from coordsvc.core.hindsight.explain import DeskTold, Explanation, NodesTold
from coordsvc.core.hindsight.explain import explain as explain_state
from coordsvc.core.hindsight.replay import replay
from coordsvc.core.units import AgentId, DeskId, Instant, TurnId, after, seconds

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
    named = {"agent": agent, "desk": desk, "turn": turn}
    asked = {name: said for name, said in named.items() if said is not None}
    if len(asked) != 1:
        raise BadRequest("name one of --agent, --desk and --turn")
    if at is not None and log is None:
        raise BadRequest("--at goes with --log")
    if log is not None:
        told = _from_log(log, at, asked)
    else:
        told = from_plain(_from_service(address, app, pid, asked), Explanation)
    if as_json:
        typer.echo(json.dumps(to_plain(told, Explanation)))
        return
    _show(told)


def _from_service(address: str | None, app: str, pid: int | None, asked: dict[str, str]) -> Any:
    from coordsvc.serving.operator import operating  # noqa: PLC0415 - a log needs no Ray

    if address is None:
        run = runs.the_one(pid)
        address, app = run.ray_address, run.app
    with operating(address, app) as operator:
        return operator.explain(**asked)


def _from_log(log: Path, at: float | None, asked: dict[str, str]) -> Explanation:
    """Return the explanation at an instant of a log: of the file that the instant lies in."""
    paths = log_files.files(log)
    begins = [log_files.began(log_files.header(path)) for path in paths]
    until = None if at is None else after(begins[0], seconds(at))
    if until is not None and until < begins[0]:
        raise BadRequest(f"--at {at} is before the log's beginning")
    last = max(n for n, begin in enumerate(begins) if until is None or begin <= until)
    told = replay(log_files.lines(paths[last]), until=until)
    if told.difference is not None:
        where = f"{told.difference.file}, line {told.difference.line}"
        raise BadRequest(f"{where}: the log does not replay, so nothing can be said of it")
    if told.allocator is None:
        raise BadRequest(f"{paths[last]} has a gap at its end; name an earlier instant")
    now = told.allocator.now if until is None else max(until, told.allocator.now)
    return explain_state(told.allocator, Instant(now), **_ids(asked))


def _ids(asked: dict[str, str]) -> dict[str, Any]:
    kinds = {"agent": AgentId, "desk": DeskId, "turn": TurnId}
    return {name: kinds[name](said) for name, said in asked.items()}


def _show(told: Explanation) -> None:
    console = Console(highlight=False)
    console.print(told.summary, markup=False, style="bold")
    for desk in told.desks:
        if desk.waits:
            _show_desk(console, desk)
    if told.desks_more:
        console.print(f"and {told.desks_more} desks more")
    if told.holders:
        held = Table("agent", "bundles", "held", "share", "not started", "revocable")
        for one in told.holders:
            numbers = (f"{one.share:.1%}", str(one.ahead), str(one.revocable))
            held.add_row(one.agent, str(one.bundles), str(one.held), *numbers)
        console.print(held)


def _show_desk(console: Console, desk: DeskTold) -> None:
    place = "not in line" if desk.place is None else f"number {desk.place} in line"
    console.print(f"\n{desk.desk} ({desk.agent}, {desk.bundle}): {place}", markup=False)
    for one in desk.before:
        console.print(f"  before it: {one.desk}, {one.key}", markup=False)
    for why in desk.in_the_way:
        console.print(f"  in the way: {why}", markup=False)
    for line in _nodes(desk.nodes):
        console.print(f"  nodes: {line}", markup=False)
    for what in desk.would_help:
        console.print(f"  would help: {what}", markup=False)


def _nodes(nodes: NodesTold) -> list[str]:
    counted = {
        "have room now": nodes.room_now,
        "have no room now": nodes.no_room_now,
        "are too small": nodes.too_small,
        "have what fits reserved for others": nodes.reserved,
        "drain": len(nodes.draining),
        "are refused by the desk": len(nodes.refused),
    }
    told = [f"{count} of {nodes.all} {what}" for what, count in counted.items() if count]
    told += [f"{n} do not meet the filter {what}" for what, n in nodes.excluded.items()]
    return told
