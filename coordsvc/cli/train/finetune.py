"""`coordsvc train finetune`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from coordsvc.cli.train.options import ARTICLE, Base, Changes, PresetName
from coordsvc.training import adapters, jobs, prepared
from coordsvc.training.finetune import Finetune
from coordsvc.training.loss_trace import TraceLine
from coordsvc.training.recipe import Preset, chosen


def finetune(
    agent: Annotated[str, typer.Option(help="planner, responder or checker.")],
    data: Annotated[Path, typer.Option(help="A folder that `train prepare` wrote.")],
    base: Base = ARTICLE,
    preset: PresetName = Preset.RECIPE,
    out: Annotated[
        Path | None, typer.Option(help="The training's folder; else training/<agent> here.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device such as cuda:0.")] = "cpu",
    change: Changes = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Teach a base one agent's part, as an adapter; killed, it goes on with --resume."""
    recipe = chosen(preset, change or ())
    named = jobs.agent_named(agent)
    folder = out or Path("training") / agent
    console = Console(stderr=True)
    console.print(f"loading {base}", highlight=False)
    training = jobs.open_training(named, prepared.load(data), base, recipe, folder, device)
    told = training.job
    console.print(
        f"{named}: {len(told.train)} samples to learn from, {len(told.held_out)} held out, "
        f"{training.steps} steps; did not fit: {dict(told.dropped)}",
        highlight=False,
    )
    _train(training, console, resume=resume)
    place = training.finish()
    card = adapters.read(place).card
    if as_json:
        typer.echo(card.model_dump_json())
        return
    Console().print(
        f"held-out loss {card.held_out_before:.4f} -> {card.held_out_after:.4f} "
        f"({-card.fell:+.1%}) at step {card.step}"
        f"{', stopped early' if card.stopped_early else ''}; the adapter is in {place}",
        highlight=False,
        soft_wrap=True,
    )


def _train(training: Finetune, console: Console, *, resume: bool) -> None:
    """Run all steps that are left, and show how it goes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(training.job.agent, total=training.steps, told="")
        if resume:
            at = training.resume()
            progress.console.print(f"going on after step {at}", highlight=False)
        else:
            _show(progress, training.begin())
        progress.update(bar, completed=training.step_done)
        while not training.done:
            line = training.step()
            progress.update(bar, completed=line.step, told=f"loss {line.loss:.4f}")
            _show(progress, line)


def _show(progress: Progress, line: TraceLine) -> None:
    if line.held_out is not None:
        progress.console.print(
            f"step {line.step}: held-out loss {line.held_out:.4f}", highlight=False
        )
