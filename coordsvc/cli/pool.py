"""`coordsvc pool`: what an operator looks at, and changes, on a running service."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.cli import runs
from coordsvc.core.policies.catalogue import NAMES
from coordsvc.core.units import NodeId
from coordsvc.serving.operator import Operator, operating

PID = Annotated[int | None, typer.Option("--pid", help="Which service here, if several run.")]
ADDRESS = Annotated[
    str | None,
    typer.Option(help="A Ray cluster's address, in the place of a service here; auto in its pods."),
]
APP = Annotated[str, typer.Option(help="The application's name, with --address.")]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NODE = Annotated[str, typer.Argument(help="A node's name, as `coordsvc pool show` tells it.")]

app = typer.Typer(help="The pool of a running service: nodes, policy.", no_args_is_help=True)


@app.command("show")
def show(
    pid: PID = None, address: ADDRESS = None, name: APP = "coordsvc", as_json: JSON = False
) -> None:
    """Tell who holds what: nodes, desks, offers, the policy, and which bounds were reached."""
    with _operator(pid, address, name) as operator:
        told = operator.status()
    if as_json:
        typer.echo(json.dumps(told))
        return
    console = Console()
    nodes = Table("node", "capacity", "free", "")
    for node, one in told["nodes"].items():
        draining = "draining" if node in told["draining"] else ""
        nodes.add_row(node, one["capacity"], one["free"], draining)
    desks = Table("desk", "agent", "waiting", "ahead", "offers")
    for desk, one in told["desks"].items():
        desks.add_row(
            desk, one["agent"], str(one["waiting"]), str(one["ahead"]), str(one["offers"])
        )
    console.print(f"policy {told['policy']}, epoch {told['epoch']}", highlight=False)
    console.print(nodes)
    console.print(desks)
    if told["limits_met"]:
        console.print(f"bounds reached: {told['limits_met']}", highlight=False)


@app.command("policy")
def policy(
    chosen: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    pid: PID = None,
    address: ADDRESS = None,
    name: APP = "coordsvc",
) -> None:
    """Serve by another policy from now on; no turn is lost, nothing held changes hands.

    What the policy takes beside its name is said in the deployment's file.
    """
    with _operator(pid, address, name) as operator:
        before = operator.status()["policy"]
        operator.choose_policy(chosen)
    typer.echo(f"policy {chosen}, before: {before}")


@app.command("drain")
def drain(
    node: NODE,
    within: Annotated[float, typer.Option(help="Seconds until what runs is to have ended.")] = 30,
    preempt: Annotated[
        bool, typer.Option(help="Then end what still runs; its phases go on elsewhere.")
    ] = False,
    pid: PID = None,
    address: ADDRESS = None,
    name: APP = "coordsvc",
) -> None:
    """Offer nothing more on a node, and ask back what runs there: for maintenance."""
    with _operator(pid, address, name) as operator:
        operator.drain(NodeId(node), within, preempt=preempt)
    typer.echo(f"draining {node}; it is empty when `coordsvc pool show` says that all is free")


@app.command("reopen")
def reopen(node: NODE, pid: PID = None, address: ADDRESS = None, name: APP = "coordsvc") -> None:
    """Offer a draining node again."""
    with _operator(pid, address, name) as operator:
        operator.reopen(NodeId(node))
    typer.echo(f"{node} is offered again")


@contextmanager
def _operator(pid: int | None, address: str | None, name: str) -> Iterator[Operator]:
    if address is None:
        run = runs.the_one(pid)
        address, name = run.ray_address, run.app
    with operating(address, name) as operator:
        yield operator
