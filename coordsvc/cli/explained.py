"""An explanation: what is asked about, had from a decision log, and shown. Needs no Ray."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from coordsvc.cli import log_files
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.explain import DeskTold, Explanation, NodesTold, explain
from coordsvc.core.hindsight.replay import replay
from coordsvc.core.units import AgentId, DeskId, Instant, TurnId, after, seconds


def asked(**named: str | None) -> dict[str, str]:
    """Return the one of agent, desk and turn that was named; raise `BadRequest` if not one was."""
    said = {name: value for name, value in named.items() if value is not None}
    if len(said) != 1:
        raise BadRequest("name one of --agent, --desk and --turn")
    return said


def from_log(log: Path, at: float | None, asked: dict[str, str]) -> Explanation:
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
    return explain(told.allocator, Instant(now), **_ids(asked))


def _ids(asked: dict[str, str]) -> dict[str, Any]:
    kinds = {"agent": AgentId, "desk": DeskId, "turn": TurnId}
    return {name: kinds[name](said) for name, said in asked.items()}


def show(told: Explanation) -> None:
    """Print an explanation for people."""
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
