"""`coordsvc calibrate`."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coordsvc import engines
from coordsvc.bench.baseline import Plan
from coordsvc.bench.baseline import calibrate as measure
from coordsvc.cli import show
from coordsvc.clock import MonotonicClock
from coordsvc.engines.fingerprint import fingerprint
from coordsvc.engines.settings import EngineSettings
from coordsvc.settings import AppSettings, read_application
from coordsvc.telemetry.baselines import Calibration, PhaseFigures, Reading, read, write


def calibrate(
    file: Annotated[Path, typer.Argument(help="A Serve config file.")] = Path(
        "deployments/local.yaml"
    ),
    dialogues: Annotated[int, typer.Option(min=1, max=10_000, help="To hold.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, max=1_000, help="Times each is held.")] = 3,
    turns: Annotated[int, typer.Option(min=1, max=100, help="Turns of each dialogue.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the order in which they are held.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="The baseline's file; else one for this engine of yours.")
    ] = None,
    show_stored: Annotated[
        bool, typer.Option("--show", help="Measure nothing; show what is stored for this engine.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Measure C_baseline: real turns, one process, the engine for itself, nothing shared.

    Run it where nothing else runs: what the machine does beside it becomes part of the baseline.
    """
    settings = read_application(file)
    place = out or stored(settings.engine)
    here = fingerprint(settings.engine)
    if show_stored:
        told = read(place, here)
    else:
        plan = Plan(dialogues=dialogues, repeats=repeats, turns=turns, seed=seed)
        say = show.steps(Console(stderr=True))
        with redirect_stdout(sys.stderr):  # libraries print, too
            told = _measured(settings, plan, here, say)
        write(place, told)
    if as_json:
        typer.echo(told.model_dump_json())
        return
    _print(told, place)


def stored(engine: EngineSettings) -> Path:
    """Return where the baseline of such an engine is kept; COORDSVC_STATE_DIR moves it."""
    name = re.sub(r"[^\w.-]+", "-", f"{engine.kind}-{engine.model}").strip("-")
    return folder() / f"{name}.json"


def folder() -> Path:
    """Return where this user's baselines are kept."""
    named = os.environ.get("COORDSVC_STATE_DIR")
    if named:
        return Path(named) / "baselines"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "coordsvc" / "baselines"


def _measured(
    settings: AppSettings, plan: Plan, here: dict[str, str], say: Callable[[str], None]
) -> Calibration:
    engine = engines.build(settings.engine)
    now = datetime.now(UTC)
    return asyncio.run(
        measure(settings, engine, MonotonicClock(), plan, now=now, fingerprint=here, say=say)
    )


def _print(told: Calibration, place: Path) -> None:
    console = Console()
    for title, reading in (("prefixes kept", told.kept), ("every prompt read anew", told.cold)):
        console.print(_table(title, reading))
    if told.emulated:
        console.print("[bold]emulated[/]: these times were declared, and say nothing of a machine")
    console.print(
        f"C_baseline of a turn: {show.milliseconds(told.c_baseline_s)}; the same with every prompt "
        f"read anew: {show.milliseconds(told.c_baseline_cold_s)}",
        highlight=False,
    )
    console.print(f"made {told.made}, kept in {place}", highlight=False, soft_wrap=True)


def _table(title: str, reading: Reading) -> Table:
    table = Table(
        *("phase", "times", "measured", "predicted", "measured / predicted, 95 %"),
        *("tokens in (cached)", "out"),
        title=f"{title}: {reading.turns} turns",
    )
    for phase, figures in reading.phases.items():
        table.add_row(phase, *_cells(figures.phases, figures.measured_s, figures, figures))
    table.add_section()
    table.add_row("turn", *_cells(reading.turns, reading.c_baseline_s, reading, reading.together))
    return table


def _cells(
    times: int, measured_s: float, spent: Reading | PhaseFigures, found: PhaseFigures
) -> tuple[str, ...]:
    return (
        str(times),
        show.milliseconds(measured_s),
        show.milliseconds(spent.predicted_s),
        _interval(found),
        f"{spent.prompt_tokens:.0f} ({spent.cached_tokens:.0f})",
        f"{spent.output_tokens:.0f}",
    )


def _interval(figures: PhaseFigures) -> str:
    if figures.ratio is None:
        return "nothing predicted"
    if figures.ratio_low is None or figures.ratio_high is None:
        return f"{figures.ratio:.3f}"
    return f"{figures.ratio:.3f} ({figures.ratio_low:.3f} to {figures.ratio_high:.3f})"
