"""`coordsvc top` against a service that comes, goes, and answers what it should not."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import generate_latest

from coordsvc.cli import top
from coordsvc.cli.client import ServiceError
from coordsvc.core.errors import BadRequest
from coordsvc.telemetry.metrics import Metrics
from tests.unit.telemetry.told import turn


class Pages:
    """Answers with one page after another; an error is raised."""

    def __init__(self, *pages: str | Exception) -> None:
        self.left = list(pages)

    async def fetch(self) -> str:
        page = self.left.pop(0)
        if isinstance(page, Exception):
            raise page
        return page


async def looked(*pages: str | Exception) -> list[top.Look]:
    clock = count(0, 2)
    asked = Pages(*pages)
    found: list[top.Look] = []

    async def no_pause() -> None:
        return

    async for look in top.looks(asked.fetch, no_pause, lambda: float(next(clock))):
        found.append(look)
        if not asked.left:
            break
    return found


def pages(turns: int) -> list[str]:
    """Pages with a turn more each."""
    metrics, told = Metrics(), list[str]()
    for _ in range(turns):
        metrics.turn(turn())
        told.append(generate_latest(metrics.registry).decode())
    return told


async def test_a_picture_takes_two_readings() -> None:
    (first, second) = await looked(*pages(2))
    assert first == (None, None)
    picture, away = second
    assert away is None
    assert picture is not None
    assert picture["turns"]["per_s"]["answered"] == 0.5


async def test_a_service_that_goes_away_and_comes_back_is_shown_again() -> None:
    one, two, three = pages(3)
    found = await looked(one, two, ServiceError("nobody answers"), "<html>", three)
    assert [away is None for _, away in found] == [True, True, False, False, True]
    assert found[2] == (found[1][0], "nobody answers"), "what was is still shown"
    assert "no Prometheus exposition" in str(found[3][1])
    again = found[4][0]
    assert again is not None
    assert again["seconds"] == 4, "since the last reading, not the last try"


# Over HTTP


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """A page of metrics that wants a key, and a few that are none."""

    async def metrics(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer sesame":
            return web.Response(status=401)
        return web.Response(text=pages(1)[0])

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/slow", slow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def page(url: str, key: str = "", seconds: float = 5) -> str:
    timeout = aiohttp.ClientTimeout(total=seconds)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        return await top._Page(url, session).text()


async def test_with_its_key_a_page_is_read(address: str) -> None:
    assert "coordsvc_turns_total" in await page(f"{address}/metrics", key="sesame")


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_a_page_that_wants_a_key_says_how_to_give_it(address: str, key: str) -> None:
    with pytest.raises(ServiceError, match="--key-file"):
        await page(f"{address}/metrics", key=key)


async def test_what_is_not_there_is_said(address: str) -> None:
    with pytest.raises(ServiceError, match="answers 404, not metrics"):
        await page(f"{address}/nothing")


async def test_a_service_that_hangs_is_given_up(address: str) -> None:
    with pytest.raises(ServiceError, match="has not answered"):
        await page(f"{address}/slow", seconds=0.1)


async def test_a_service_that_is_not_there_is_said() -> None:
    with pytest.raises(ServiceError, match="cannot be read"):
        await page("http://127.0.0.1:1/metrics")


# What is asked of it


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_an_interval_that_is_none_is_refused(interval: float) -> None:
    with pytest.raises(BadRequest, match="--interval"):
        top.top(url="http://127.0.0.1:1", interval=interval)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BadRequest, match="--url '9464' is not right"):
        top.top(url="9464")


def test_a_key_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="No such file"):
        top.top(url="http://127.0.0.1:1", key_file=tmp_path / "none")
