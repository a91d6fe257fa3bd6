"""`coordsvc top`: the dashboard's picture live in the terminal, from the service's own metrics."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.live import Live

from coordsvc.cli import runs
from coordsvc.cli.client import ServiceError
from coordsvc.cli.picture import Picture, picture
from coordsvc.cli.top_view import nothing_yet, view
from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.telemetry.exposition import Between, Reading

ANSWER_S_MAX = 5.0
"""For one page of metrics: a scrape takes milliseconds, a hung service for ever."""
INTERVAL_S_MIN = 0.1
KEY_VARIABLE = "COORDSVC_METRICS_KEY_FILE"

Fetch = Callable[[], Awaitable[str]]
Look = tuple[Picture | None, str | None]
"""The last picture, and why it is not a new one."""


def top(
    url: Annotated[
        str | None, typer.Option(help="Address of /metrics; else the service that runs here.")
    ] = None,
    pid: Annotated[int | None, typer.Option("--pid", help="Which service, if several run.")] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two readings.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show one picture, and leave.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each picture.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(help="A file with the key of /metrics, if it has one.", envvar=KEY_VARIABLE),
    ] = None,
) -> None:
    """Show live how the service does: turns, C_coord by part, offers, accelerators, allocator."""
    if not interval >= INTERVAL_S_MIN:
        raise BadRequest(f"--interval {interval} is not right: {INTERVAL_S_MIN} s or more would be")
    url = runs.the_one(pid).metrics_url if url is None else _checked(url)
    key = None if key_file is None else _key(key_file)
    try:
        asyncio.run(_show(url, key, interval, once=once, as_json=as_json))
    except KeyboardInterrupt:
        return  # how one leaves


async def looks(
    fetch: Fetch, pause: Callable[[], Awaitable[None]], clock_s: Callable[[], float]
) -> AsyncIterator[Look]:
    """Yield what is seen after each reading; a service that is away is said to be, and retried."""
    earlier: Reading | None = None
    seen: Picture | None = None
    while True:
        try:
            reading = Reading.of(await fetch(), clock_s())
        except CoordinationError as error:
            yield seen, str(error)
        else:
            if earlier is not None:
                seen = picture(Between(earlier, reading), time.time())
            earlier = reading
            yield seen, None
        await pause()


async def _show(url: str, key: str | None, interval: float, *, once: bool, as_json: bool) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        seen = looks(_Page(url, session).text, lambda: asyncio.sleep(interval), time.monotonic)
        if once:
            await _one(seen, url, as_json=as_json)
        elif as_json:
            async for found, away in seen:
                typer.echo(json.dumps({"url": url, "away": away, "picture": found}))
        else:
            await _live(seen, url)


async def _one(seen: AsyncIterator[Look], url: str, *, as_json: bool) -> None:
    """Print the first picture; raise `ServiceError` for a service that is away."""
    async for found, away in seen:
        if away is not None:
            raise ServiceError(away)
        if found is None:
            continue  # the first of two readings
        if as_json:
            typer.echo(json.dumps({"url": url, "away": None, "picture": found}))
        else:
            Console().print(view(found, url))
        return


async def _live(seen: AsyncIterator[Look], url: str) -> None:
    with Live(nothing_yet(url, None), screen=True, auto_refresh=False) as live:
        async for found, away in seen:
            shown = nothing_yet(url, away) if found is None else view(found, url, away)
            live.update(shown, refresh=True)


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of metrics."""

    url: str
    session: aiohttp.ClientSession

    async def text(self) -> str:
        """Return the page; raise `ServiceError` with what is wrong."""
        try:
            async with self.session.get(self.url) as answer:
                if answer.status == HTTPStatus.UNAUTHORIZED:
                    raise ServiceError(f"{self.url} wants a key: --key-file, or {KEY_VARIABLE}")
                if answer.status != HTTPStatus.OK:
                    raise ServiceError(f"{self.url} answers {answer.status}, not metrics")
                return await answer.text()
        except TimeoutError:
            raise ServiceError(f"{self.url} has not answered in {ANSWER_S_MAX:.0f} s") from None
        except (aiohttp.ClientError, UnicodeDecodeError) as error:
            raise ServiceError(f"{self.url} cannot be read: {error}") from None


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"--url {url!r} is not right: http://127.0.0.1:9464/metrics would be")
    return url


def _key(path: Path) -> str:
    """Return the key in a file: a secret on the command line is seen by everybody."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise BadRequest(f"--key-file {path} cannot be read: {said}") from None
