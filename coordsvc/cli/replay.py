"""`coordsvc replay`: whether a log gives the same effects again, and what else it might have."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.cli import log_files
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import to_plain
from coordsvc.core.hindsight.decisions import Decision
from coordsvc.core.hindsight.reenactment import Served, Waits, WhatIf, by_agent, what_if
from coordsvc.core.hindsight.replay import Replayed
from coordsvc.core.hindsight.replay import replay as replay_lines
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms, make
from coordsvc.core.units import SECOND

SHOWN_SERVED = 20
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def replay(
    log: Annotated[Path, typer.Argument(help="A decision log's file, or the folder of them.")],
    policy: Annotated[
        str | None, typer.Option(help="What if: enact the same demands under another policy.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Replay a decision log; exit with 1 if any effect is not the same, and show the first."""
    paths = log_files.files(log)
    cut = [str(path) for path in paths if log_files.cut(path)]
    if policy is None:
        told = replay_lines(line for path in paths for line in log_files.lines(path))
        _show_replayed(told, cut, as_json=as_json)
        if told.difference is not None:
            raise typer.Exit(1)
        return
    _show_what_if(_enact(paths, policy), policy, cut, as_json=as_json)


def _enact(paths: list[Path], policy: str) -> WhatIf:
    """Return what would have been; a log of several files is one story, if nothing was lost."""
    header = log_files.header(paths[0])
    for path in paths[1:]:
        after = log_files.header(path)
        if after.lost or after.epoch != header.epoch:
            raise BadRequest(f"{path} does not go on where the file before it ends: name one file")
    lines = (line for path in paths for line in log_files.lines(path))
    log = [line.entry for line in lines if isinstance(line.entry, Decision)]
    terms = PolicyTerms(name=policy)
    try:
        make(terms)
    except ValueError as error:
        raise BadRequest(f"--policy {policy}: {error}; there are {', '.join(NAMES)}") from None
    return what_if(header.state, log, terms)


def _show_replayed(told: Replayed, cut: list[str], *, as_json: bool) -> None:
    same = told.difference is None
    if as_json:
        _emit(
            {
                "same": same,
                "files": told.files,
                "events": told.events,
                "effects": told.effects,
                "lost": told.lost,
                "cut": cut,
                "difference": None if same else _difference(told),
            }
        )
        return
    _say_cut(cut)
    if told.lost:
        typer.echo(f"{told.lost} events were never written: the log has gaps")
    if same:
        typer.echo(f"{told.events} events gave the same {told.effects} effects")
        return
    found = _difference(told)
    typer.echo(f"{found['file']}, line {found['line']}, at {found['at']}: {found['what']}")
    typer.echo(f"  then: {json.dumps(found['then'])}")
    typer.echo(f"  now:  {json.dumps(found['now'])}")


def _difference(told: Replayed) -> dict[str, Any]:
    found = told.difference
    assert found is not None, "there is one"
    return {
        "file": found.file,
        "line": found.line,
        "at": found.at,
        "what": found.what,
        "then": found.then,
        "now": found.now,
    }


def _show_what_if(told: WhatIf, policy: str, cut: list[str], *, as_json: bool) -> None:
    columns = {"logged": told.logged, "same": told.same, "other": told.other}
    waits = {name: by_agent(served) for name, served in columns.items()}
    if as_json:
        _emit(
            {
                "policy": policy,
                "cut": cut,
                "waits": {
                    name: {agent: to_plain(one, Waits) for agent, one in by.items()}
                    for name, by in waits.items()
                },
                "served": {
                    name: [to_plain(one, Served) for one in served]
                    for name, served in columns.items()
                },
            }
        )
        return
    _say_cut(cut)
    shown = Table("agent", "phases", "logged: mean, p95 s", "enacted", policy, "unserved")
    for agent, logged in waits["logged"].items():
        same, other = waits["same"][agent], waits["other"][agent]
        shown.add_row(
            agent,
            str(logged.phases),
            *(_waits(one) for one in (logged, same, other)),
            f"{logged.unserved} / {same.unserved} / {other.unserved}",
        )
    Console().print(shown)
    moved = sorted(
        zip(told.same, told.other, strict=True),
        key=lambda pair: -abs(pair[1].waited_us - pair[0].waited_us),
    )
    listed = Table("turn", "agent", "asked at s", "began (enacted)", f"began ({policy})")
    for one, other_one in moved[:SHOWN_SERVED]:
        if one.began != other_one.began:
            listed.add_row(
                one.turn, one.agent, _at(one.asked), _at(one.began), _at(other_one.began)
            )
    Console().print(listed)


def _say_cut(cut: list[str]) -> None:
    for name in cut:
        typer.echo(f"{name}: the last line was cut, as by a crash, and is left out")


def _waits(one: Waits) -> str:
    return f"{one.mean_us / SECOND:.3f}, {one.p95_us / SECOND:.3f}"


def _at(instant: int | None) -> str:
    return "never" if instant is None else f"{instant / SECOND:.3f}"


def _emit(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document))
