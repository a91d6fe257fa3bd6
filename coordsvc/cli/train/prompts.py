"""`coordsvc train prompts`."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from coordsvc.bench.machine import facts
from coordsvc.bench.prompts import Plan, Served, send
from coordsvc.cli import show
from coordsvc.core.dialogue import PLANNER
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import Message
from coordsvc.engines.settings import SMOLLM2
from coordsvc.serving.local import LocalService, Ports
from coordsvc.settings import check
from coordsvc.training import adapters as kept
from coordsvc.training import prepared
from coordsvc.training.jobs import agent_named
from coordsvc.training.samples import conversation_of

BASE, ADAPTED = "base", "adapters"
"""The two services that are compared."""


class Kind(StrEnum):
    """Engines that serve adapters."""

    OPENVINO = "openvino"
    TRANSFORMERS = "transformers"
    VLLM = "vllm"


def prompts(
    data: Annotated[Path, typer.Option(help="A folder that `train prepare` wrote.")],
    adapter: Annotated[
        list[str], typer.Option(help="As planner=FOLDER, once for each agent that has one.")
    ],
    base: Annotated[str, typer.Option(help="The model that the adapters are for.")] = SMOLLM2,
    engine: Annotated[Kind, typer.Option(help="What computes.")] = Kind.OPENVINO,
    most: Annotated[int, typer.Option("--prompts", min=1, help="How many.")] = 500,
    clients: Annotated[int, typer.Option(min=1, max=1_024, help="Under way at once.")] = 8,
    tokens: Annotated[int, typer.Option(min=1, max=4_096, help="Of a reply at most.")] = 64,
    out: Annotated[
        Path | None, typer.Option(help="A file for the replies of both, a JSON line a prompt.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Send dialogues through planner and responder, once on the base and once with adapters.

    Held-out dialogues first, then as many of the others as are needed.
    """
    folders = _folders(adapter)
    asked = _conversations(data, most)
    if out is not None and out.exists():
        raise BadRequest(f"--out {out}: is there already; name another file")
    plan = Plan(model=BASE, clients=clients, tokens_max=tokens)
    console = Console(stderr=True)
    services = {BASE: {}, ADAPTED: folders}
    with redirect_stdout(sys.stderr):  # Ray prints, too
        served = {
            name: _served(_settings(base, engine, with_, clients), asked, plan, console)
            for name, with_ in services.items()
        }
    if out is not None:
        _keep(out, asked, served)
    told = {
        **{name: one.figures for name, one in served.items()},
        "ratio": _ratios(served),
        "engine": engine.value,
        "machine": facts(datetime.now(UTC)),
    }
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _print(served)


def _folders(told: Sequence[str]) -> dict[str, str]:
    folders: dict[str, str] = {}
    for one in told:
        agent, equals, folder = one.partition("=")
        if not equals:
            raise BadRequest(f"--adapter {one}: an agent and a folder are right: planner=FOLDER")
        named = agent_named(agent)
        folders[named] = str(kept.read(Path(folder)).folder.absolute())
    return folders


def _conversations(data: Path, most: int) -> list[tuple[Message, ...]]:
    """Return what users said, and what was answered before; held-out dialogues first."""
    samples = prepared.load(data)
    found: dict[tuple[Message, ...], None] = {}
    for split in ("held_out", "train"):
        for sample in samples.samples(PLANNER, split):
            found.setdefault(conversation_of(sample))
    if len(found) < most:
        raise BadRequest(f"--prompts {most}: {data} has {len(found)} different ones")
    return list(found)[:most]


def _settings(base: str, engine: Kind, adapters: Mapping[str, str], clients: int) -> dict[str, Any]:
    """Return the settings of a service of two agents, with a bundle for each client."""
    places = max(clients, 1)
    one = {"demand": {"cpu": 1, "bandwidth_gbps": 1}}
    return {
        "served_model": BASE,
        "engine": {
            "kind": engine.value,
            "model": base,
            "batch_max": places,
            "adapters": dict(adapters),
            "calibration_repeats": 1,
        },
        "node": {"capacity": {"cpu": places, "bandwidth_gbps": places}},
        "agents": {"planner": one, "responder": one, "checker": None},
    }


def _served(
    args: Mapping[str, Any], asked: Sequence[Sequence[Message]], plan: Plan, console: Console
) -> Served:
    check(args)
    say = show.steps(console)
    service = LocalService(Ports(http=None, metrics=0))
    application = {
        "name": "prompts",
        "route_prefix": "/",
        "import_path": "coordsvc.serving.app:build",
        "args": args,
    }
    try:
        service.start(say)
        (running,) = service.deploy({"applications": [application]}, say).values()
        say(f"sending {len(asked)} prompts")

        def tell(number: int) -> None:
            if number and number % 100 == 0:
                say(f"{number} sent")

        return asyncio.run(send(running.direct_url, asked, plan, tell))
    finally:
        service.stop()


def _ratios(served: Mapping[str, Served]) -> dict[str, float]:
    """Return the adapters' figures against the base's."""
    base, adapted = served[BASE].figures, served[ADAPTED].figures
    return {
        name: round(float(str(adapted[name])) / float(str(base[name])), 4)
        for name in ("turns_per_second", "p95_s", "output_tokens_per_second")
        if base[name]
    }


def _keep(out: Path, asked: Sequence[Sequence[Message]], served: Mapping[str, Served]) -> None:
    replies = {
        name: {one.prompt: asdict(one) for one in found.replies} for name, found in served.items()
    }
    with out.open("w", encoding="utf-8") as file:
        for number, conversation in enumerate(asked):
            line = {
                "prompt": [{"role": one.speaker, "content": one.text} for one in conversation],
                **{name: found.get(number) for name, found in replies.items()},
            }
            file.write(json.dumps(line) + "\n")


def _print(served: Mapping[str, Served]) -> None:
    table = Table("", *served)
    for name in ("answered", "turns_per_second", "p50_s", "p95_s", "c_coord_mean_s"):
        table.add_row(name, *(str(one.figures[name]) for one in served.values()))
    Console().print(table)
