"""`coordsvc chat`: talk to a service in the terminal; each reply is followed by its account."""

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console

from coordsvc.cli import runs, show
from coordsvc.cli.client import Client, ServiceError, connected

MODES = ("stream_then_check", "check_then_send")


def chat(
    url: Annotated[str | None, typer.Option(help="The service; else the one running here.")] = None,
    mode: Annotated[
        str, typer.Option(help="stream_then_check shows the reply as it is made.")
    ] = MODES[0],
    max_tokens: Annotated[int, typer.Option(help="Tokens of a reply.", min=1)] = 128,
) -> None:
    """Talk to the service. An empty line, or Ctrl-D, ends it."""
    if mode not in MODES:
        raise typer.BadParameter(f"{mode!r} is not right; {' or '.join(MODES)} is")
    asyncio.run(_talk(url or runs.the_one(None).direct_url, mode, max_tokens))


async def _talk(url: str, mode: str, max_tokens: int) -> None:
    console = Console()
    conversation: list[dict[str, str]] = []
    async with connected(url) as client:
        model = await client.model()
        console.print(f"[dim]{model} at {url}; an empty line ends[/]", highlight=False)
        while said := await _said(console):
            conversation.append({"role": "user", "content": said})
            body = {
                "model": model,
                "messages": conversation,
                "max_tokens": max_tokens,
                "coordsvc": {"mode": mode, "account": True},
            }
            try:
                conversation.append(await _reply(client, body, console))
            except ServiceError as error:
                console.print(f"[red]{error}[/]", highlight=False)
                conversation.pop()


async def _said(console: Console) -> str:
    try:
        return (await asyncio.to_thread(console.input, "[bold]you>[/] ")).strip()
    except EOFError:
        return ""


async def _reply(client: Client, body: dict[str, Any], console: Console) -> dict[str, str]:
    text, account = "", None
    async for chunk in client.stream(body):
        for choice in chunk["choices"]:
            piece = choice["delta"].get("content") or ""
            text += piece
            console.print(piece, end="", markup=False, highlight=False)
        account = chunk.get("coordsvc", {}).get("account") or account
    console.print()
    if account is not None:
        console.print(show.one_line(account))
    return {"role": "assistant", "content": text}
