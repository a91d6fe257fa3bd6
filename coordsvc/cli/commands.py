"""All commands, joined: each is a module of its own."""

import sys

import typer

from coordsvc.cli import (
    calibrate,
    chat,
    experiment,
    explain,
    keys,
    pool,
    replay,
    schedule,
    simulate,
    status,
    top,
    up,
)
from coordsvc.cli.bench import (
    account,
    allocator,
    autoscale,
    collapse,
    engine,
    faults,
    overhead,
    policies,
)
from coordsvc.cli.train.commands import app as train_app
from coordsvc.core.errors import CoordinationError

app = typer.Typer(
    help="Multi-agent LLM dialogue on shared accelerators, and an account of every second.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("chat")(chat.chat)
app.command("status")(status.status)
app.command("down")(status.down)
app.command("top")(top.top)
app.command("explain")(explain.explain)
app.command("replay")(replay.replay)
app.add_typer(pool.app, name="pool")
app.add_typer(keys.app, name="keys")
app.command("simulate")(simulate.simulate)
app.command("schedule")(schedule.schedule)
app.command("experiment")(experiment.experiment)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(train_app, name="train")

bench_app = typer.Typer(help="Measurements; each prints one JSON object.", no_args_is_help=True)
bench_app.command("overhead")(overhead.overhead)
bench_app.command("account")(account.account)
bench_app.command("engine")(engine.engine)
bench_app.command("faults")(faults.faults)
bench_app.command("allocator")(allocator.allocator)
bench_app.command("autoscale")(autoscale.autoscale)
bench_app.command("policies")(policies.policies)
bench_app.command("collapse")(collapse.collapse)
app.add_typer(bench_app, name="bench")


def main() -> None:
    """Run the command line; a known error is one line, not a traceback."""
    try:
        app()
    except CoordinationError as error:
        sys.stderr.write(f"coordsvc: {error}\n")
        raise SystemExit(2) from None
