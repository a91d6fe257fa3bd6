"""`coordsvc simulate`."""

import json
import time
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.core.errors import BadRequest
from coordsvc.core.policies.catalogue import NAMES as POLICIES
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.terms import DeskTerms, Terms
from coordsvc.core.units import RoleId, seconds
from coordsvc.simulation.catalogue import NAMES as WORKLOADS
from coordsvc.simulation.settings import ON_DEMAND, FaultTerms, SimSettings
from coordsvc.simulation.simulate import simulate as run
from coordsvc.simulation.simulate import slowdowns
from coordsvc.simulation.workload import NodePlan

TURNS_UNBOUNDED = 1_000_000


def simulate(
    workload: Annotated[str, typer.Option(help=f"One of {', '.join(WORKLOADS)}.")] = "poisson",
    policy: Annotated[str, typer.Option(help=f"One of {', '.join(POLICIES)}.")] = "fair_share",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same result.")] = 1,
    run_s: Annotated[
        float, typer.Option("--seconds", min=0.001, max=864_000, help="Simulated; no wait.")
    ] = 120.0,
    turns: Annotated[int | None, typer.Option(min=1, help="No more turns than so many.")] = None,
    load: Annotated[
        float, typer.Option(min=0.001, max=100, help="Of what the pool can do.")
    ] = 0.85,
    nodes: Annotated[int | None, typer.Option(min=1, max=100_000, help="Engines, alike.")] = None,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Bundles on each of them.")] = 4,
    replicas: Annotated[int, typer.Option(min=1, max=1_000, help="Of each agent.")] = 2,
    held_ahead: Annotated[
        bool, typer.Option("--held-ahead", help="Desks hold offers ahead of need, as served.")
    ] = False,
    costs_known: Annotated[
        bool, typer.Option(help="Whether desks know what phases cost; else means are used.")
    ] = True,
    partition: Annotated[
        str, typer.Option(help="Shares of static_partition: planner=1,responder=2.")
    ] = "",
    faults: Annotated[
        bool, typer.Option("--faults", help="Lose nodes, allocators and messages now and then.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Run each tenant alone, too: the slowdown of sharing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Run the service's own decisions against a workload, with a clock that jumps.

    All but `speed` is the same for the same options, on any machine.
    """
    try:
        settings = SimSettings(
            workload=workload,
            seed=seed,
            load=load,
            lasts_us=seconds(run_s),
            turns_max=turns or TURNS_UNBOUNDED,
            nodes=() if nodes is None else (NodePlan(count=nodes, slots=slots),),
            replicas=replicas,
            terms=Terms(policy=PolicyTerms(name=policy, partition=_shares(partition))),
            desk_terms=DeskTerms() if held_ahead else ON_DEMAND,
            costs_known=costs_known,
            faults=TROUBLE if faults else FaultTerms(),
        )
        began = time.perf_counter()
        result = run(settings)
        took_s = time.perf_counter() - began
        told = {"workload": workload, "policy": policy, "seed": seed, **result.as_dict()}
        if alone:
            told["slowdowns"] = slowdowns(settings, result)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    told["speed"] = _speed(result.core_calls, took_s)
    _print(told, as_json=as_json)


TROUBLE = FaultTerms(
    node_losses_per_minute=1.0,
    allocator_losses_per_minute=1.0,
    lost=0.002,
    twice=0.002,
    late=0.02,
    slow_agents=0.1,
)
"""What `--faults` brings: more in a minute than a pool should see in a week."""


def _shares(told: str) -> dict[RoleId, int]:
    shares: dict[RoleId, int] = {}
    for part in filter(None, told.split(",")):
        role, _, share = part.partition("=")
        if not role or not share.isascii() or not share.isdigit():
            raise ValueError(f"a share looks like planner=2, not like {part!r}")
        shares[RoleId(role)] = int(share)
    return shares


def _speed(core_calls: Mapping[str, int], took_s: float) -> dict[str, float]:
    """Return what this machine did in a second: not a part of the result."""
    return {
        "wall_s": round(took_s, 3),
        "core_events_per_s": round(sum(core_calls.values()) / took_s),
        "allocator_events_per_s": round(core_calls["allocator"] / took_s),
    }


def _print(told: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
        return
    shown = Table("figure", "value")
    for name, value in told.items():
        shown.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
    Console().print(shown)
