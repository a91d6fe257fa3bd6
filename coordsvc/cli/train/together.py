"""`coordsvc train together`."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from coordsvc.cli import show
from coordsvc.cli.train.options import ARTICLE, Base, Changes, PresetName
from coordsvc.core.errors import BadRequest
from coordsvc.core.stretch import Stretched
from coordsvc.core.units import AgentId
from coordsvc.serving.local import LocalService, Ports
from coordsvc.serving.training_app import APP, TrainingPool, compose, train
from coordsvc.settings.metrics import MetricsSettings
from coordsvc.telemetry.decision_log import DecisionLogTerms
from coordsvc.training import adapters, checkpoints, jobs, prepared
from coordsvc.training.finetune import CHECKPOINTS, FINISHED
from coordsvc.training.libraries import libraries
from coordsvc.training.recipe import Preset, chosen
from coordsvc.training.travelling import Travelling

LOG_BYTES_MAX, LOG_FILES_MAX = 64 << 20, 16


def together(
    data: Annotated[Path, typer.Option(help="A folder that `train prepare` wrote.")],
    agent: Annotated[list[str], typer.Option(help="Who is trained; say it once for each.")] = [  # noqa: B006 - typer's way
        "planner",
        "responder",
    ],
    accelerators: Annotated[
        int, typer.Option(min=1, help="Placement groups, of a GPU each; or of a CPU core each.")
    ] = 2,
    base: Base = ARTICLE,
    preset: PresetName = Preset.RECIPE,
    change: Changes = None,
    out: Annotated[Path, typer.Option(help="Each agent's training is below, by its name.")] = Path(
        "training"
    ),
    stretch: Annotated[
        int, typer.Option(min=1, help="Steps under one grant, before others get their turn.")
    ] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoints.")
    ] = False,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of /metrics; 0 takes any.")
    ] = 9464,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Train several agents at once, under the allocator's grants, in placement groups of Ray.

    What each holds is in the decision log (below --out) and in the metrics, as a service's is.
    """
    agents = [jobs.agent_named(name) for name in agent]
    if len(set(agents)) != len(agents):
        raise BadRequest(f"--agent names {', '.join(agents)}: each is trained once")
    on_gpu = _enough(accelerators)
    travelling = Travelling(
        data=data.absolute(),
        base=str(Path(base).absolute()) if Path(base).exists() else base,
        recipe=chosen(preset, change or ()),
        folder=out.absolute(),
        device="cuda:0" if on_gpu else "cpu",
        threads=max(1, (os.cpu_count() or 1) // accelerators),
    )
    begin = {name: _standing(travelling, name, resume=resume) for name in agents}
    pool = TrainingPool(
        nodes=accelerators,
        on_gpu=on_gpu,
        stretch_steps=stretch,
        metrics=MetricsSettings(port=metrics_port),
        decision_log=DecisionLogTerms(
            folder=out.absolute() / "decisions",
            file_bytes_max=LOG_BYTES_MAX,
            files_max=LOG_FILES_MAX,
        ),
    )
    console = Console(stderr=True)
    with redirect_stdout(sys.stderr):  # Ray prints, too
        _train(pool, travelling, begin, console)
    _tell(travelling, agents, as_json=as_json)


def _enough(accelerators: int) -> bool:
    """Return whether there are GPUs; raise `BadRequest` if there is not one of each for a node."""
    gpus = libraries().torch.cuda.device_count()
    there, kind = (gpus, "GPUs") if gpus else (max(2, os.cpu_count() or 2), "CPU cores")
    if accelerators > there:
        raise BadRequest(
            f"--accelerators {accelerators}: there are {there} {kind} here; 1 to {there} are right"
        )
    return bool(gpus)


def _standing(travelling: Travelling, agent: AgentId, *, resume: bool) -> int:
    """Return the step that an agent's training stands at; check what can be known before.

    Raises `BadRequest` for samples that are not there, or a training that is.
    """
    prepared.load(travelling.data).samples(agent, "train")
    folder = travelling.place(agent) / CHECKPOINTS
    if not folder.exists():
        return 0
    if not resume:
        raise BadRequest(
            f"{travelling.place(agent)}: holds a training already; add --resume to go on with it, "
            "or name another --out"
        )
    return checkpoints.stands_at(folder)


def _train(
    pool: TrainingPool, travelling: Travelling, begin: Mapping[AgentId, int], console: Console
) -> None:
    say = show.steps(console)
    service = LocalService(Ports(http=None))
    try:
        service.start(say)
        nodes, metrics_url = service.run(compose(pool, travelling), APP, say)
        say(f"metrics at {metrics_url}")
        asyncio.run(_watched(pool, nodes, begin, say))
    finally:
        say("stopping")
        service.stop()


async def _watched(pool: TrainingPool, nodes: Any, begin: Mapping[AgentId, int], say: Any) -> None:
    async with aclosing(train(pool, nodes, begin)) as told:
        async for stretched in told:
            say(_line(stretched))


def _line(told: Stretched) -> str:
    held_out = "" if told.held_out is None else f", held out {told.held_out:.4f}"
    end = ", done" if told.done else ""
    return f"{told.agent}: step {told.step} of {told.steps}, loss {told.loss:.4f}{held_out}{end}"


def _tell(travelling: Travelling, agents: Sequence[AgentId], *, as_json: bool) -> None:
    cards = {name: adapters.read(travelling.place(name) / FINISHED).card for name in agents}
    if as_json:
        typer.echo(json.dumps({name: card.model_dump(mode="json") for name, card in cards.items()}))
        return
    console = Console()
    for name, card in cards.items():
        console.print(
            f"{name}: held-out loss {card.held_out_before:.4f} -> {card.held_out_after:.4f} "
            f"({-card.fell:+.1%}); the adapter is in {travelling.place(name) / FINISHED}",
            highlight=False,
            soft_wrap=True,
        )
