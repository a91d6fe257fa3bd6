"""`coordsvc schedule`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from coordsvc.core.errors import BadRequest
from coordsvc.core.units import AgentId
from coordsvc.settings import read_application
from coordsvc.solvers import cp_sat, regret
from coordsvc.solvers.baselines import Offers
from coordsvc.solvers.dialogue import Chain, instance, order
from coordsvc.solvers.execute import execute


def schedule(
    file: Annotated[Path, typer.Argument(help="A Serve config file.")] = Path(
        "deployments/local.yaml"
    ),
    lasts: Annotated[
        str, typer.Option(help="Seconds of each agent's phase: planner=0.9,responder=1.2.")
    ] = "",
    gap_s: Annotated[float, typer.Option(min=0, max=3_600, help="Between turns' arrivals.")] = 0.5,
    turns: Annotated[int, typer.Option(help="In one plan; it begins anew after them.")] = 6,
    engines: Annotated[int, typer.Option(min=1, max=1_000, help="Replicas of the engine.")] = 1,
    step_s: Annotated[float, typer.Option(min=0.001, max=60, help="Of the plan's time.")] = 0.1,
    effort: Annotated[
        float, typer.Option(min=0.1, max=3_600, help="The solver's, about in seconds.")
    ] = 10.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Plan by solver in which order phases go, so that agents' delays vary least.

    Prints the settings of the policy `planned`, for `offers.policy` in the deployment's file. No
    agent is delayed more than under fair sharing. What an agent's phase lasts, `coordsvc calibrate`
    and the metrics tell.
    """
    settings = read_application(file)
    agents = settings.agents.by_id()
    chain = Chain(
        agents=tuple(agents),
        demands={agent: told.demand.resources() for agent, told in agents.items()},
        lasts_s=_seconds(lasts),
        engine=settings.node.capacity.resources(),
        engines=engines,
        turns=turns,
        gap_s=gap_s,
        step_s=step_s,
    )
    told = _planned(chain, effort)
    if as_json:
        typer.echo(json.dumps(told))
        return
    _print(told)


def _planned(chain: Chain, effort: float) -> dict[str, Any]:
    problem = instance(chain)
    shared = execute(problem, Offers())
    made = cp_sat.plan(problem, shared, effort=effort)
    sides = {"planned": made.schedule, "fair_share": shared}
    return {
        "policy": {
            "name": "planned",
            "plan": [list(e) for e in order(chain.agents, made.schedule)],
        },
        "status": made.status,
        "delay_s": {
            side: {
                agent: round(steps * chain.step_s, 3)
                for agent, steps in zip(chain.agents, regret.regrets(problem, one), strict=True)
            }
            for side, one in sides.items()
        },
    }


def _print(told: dict[str, Any]) -> None:
    typer.echo(f"# {told['status'].lower()}; mean delays in the plan, and by fair sharing:")
    for agent, delay in told["delay_s"]["planned"].items():
        typer.echo(f"#   {agent}: {delay} s, {told['delay_s']['fair_share'][agent]} s")
    typer.echo(yaml.safe_dump({"offers": {"policy": told["policy"]}}, default_flow_style=None))
    if told["delay_s"]["planned"] == told["delay_s"]["fair_share"]:
        Console(stderr=True).print("the plan is no better: fair_share will do", highlight=False)


def _seconds(told: str) -> dict[AgentId, float]:
    found: dict[AgentId, float] = {}
    for part in filter(None, told.split(",")):
        agent, _, lasts = part.partition("=")
        try:
            found[AgentId(agent)] = float(lasts)
        except ValueError:
            raise BadRequest(f"--lasts has {part!r}: planner=0.9 would be right") from None
    return found
