"""`coordsvc up`: the service on this machine, from one file, until it is told to stop."""

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from coordsvc.cli import runs, show
from coordsvc.cli.client import connected
from coordsvc.serving.http.keys import open_to_others
from coordsvc.serving.local import LocalService, Ports, Running
from coordsvc.settings import read_deployment

QUESTION = "What is a good way to learn a new language?"
DEMO_TOKENS = 64


def up(
    file: Annotated[Path, typer.Argument(help="A Serve config file.")] = Path(
        "deployments/local.yaml"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.", envvar="COORDSVC_HOST")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int, typer.Option(help="Port of the HTTP door; 0 takes any.", envvar="COORDSVC_PORT")
    ] = (8000),
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Port of /metrics; else the file's.", envvar="COORDSVC_METRICS_PORT"),
    ] = None,
    demo: Annotated[bool, typer.Option(help="Answer one real dialogue when ready.")] = False,
    leave: Annotated[
        bool, typer.Option("--exit", help="Stop once ready (and the demo is answered).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line each.")] = False,
) -> None:
    """Start a Ray of our own with the service on it, and keep serving until told to stop."""
    config = read_deployment(file)
    _warn_if_open(config, host)
    ports = Ports(host=host, http=port or None, metrics=metrics_port)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # Ray prints, too
        _serve(config, ports, demo=demo, leave=leave, as_json=as_json)


def _serve(config: dict[str, Any], ports: Ports, *, demo: bool, leave: bool, as_json: bool) -> None:
    console = Console(stderr=as_json)
    stop = threading.Event()
    service = LocalService(ports)
    try:
        (running,) = service.deploy(config, _started(service, console)).values()
        _stop_politely(stop)  # only now: Ray puts a handler of its own in place when it starts
        _tell_ready(running, console, as_json=as_json)
        if demo:
            asyncio.run(_demo(running, console, as_json=as_json))
        if not leave:
            console.print("serving; Ctrl-C or `coordsvc down` stops it", highlight=False)
            stop.wait()
    finally:
        console.print("stopping", highlight=False)
        service.stop()
        runs.forget(os.getpid())


def _warn_if_open(config: dict[str, Any], host: str) -> None:
    """Say on standard error that a door without keys is open to other machines, if one is."""
    without = any(not (one.get("args") or {}).get("keys") for one in config["applications"])
    warning = open_to_others(host)
    if without and warning is not None:
        typer.echo(f"warning: {warning}", err=True)


def _started(service: LocalService, console: Console) -> Any:
    say = show.steps(console)
    service.start(say)
    return say


def _tell_ready(running: Running, console: Console, *, as_json: bool) -> None:
    run = runs.Run(
        pid=os.getpid(),
        app=running.app,
        url=running.url,
        direct_url=running.direct_url,
        metrics_url=running.metrics_url,
        ray_address=running.ray_address,
    )
    runs.remember(run)
    if as_json:
        _emit({"ready": True, **asdict(run)})
    console.print(f"ready  {running.url}/v1  (OpenAI API, through Serve's proxy)", highlight=False)
    console.print(f"       {running.direct_url}/v1  (the same, one hop less)", highlight=False)
    console.print(f"       {running.metrics_url}  (Prometheus)", highlight=False)


async def _demo(running: Running, console: Console, *, as_json: bool) -> None:
    async with connected(running.direct_url) as client:
        model = await client.model()
        body = {
            "model": model,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": DEMO_TOKENS,
        }
        answer = await client.reply(body)
    if as_json:
        _emit({"demo": answer})
        return
    console.print(f"\n[bold]user[/]       {QUESTION}", highlight=False)
    console.print("[bold]assistant[/]  ", end="")
    console.print(answer["choices"][0]["message"]["content"], markup=False, highlight=False)
    console.print()
    console.print(show.table(answer["coordsvc"]["account"]))


def _emit(document: dict[str, Any]) -> None:
    """Print a line for a program to read, whatever stdout has been put in its place."""
    typer.echo(json.dumps(document), file=sys.__stdout__)


def _stop_politely(told: threading.Event) -> None:
    """Have a polite signal set `told`; a second one leaves whatever is being waited for."""

    def on_signal(_number: int, _frame: object) -> None:
        if told.is_set():
            raise KeyboardInterrupt
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
