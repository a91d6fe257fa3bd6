"""The application's two actors die, and live again: what they go on from, and what is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from coordsvc.serving.ray_pool import allocator_name, find, instruments_name
from tests.integration.apps import Services

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
APP = "scripted"
UNTOLD = "coordsvc_turns_untold_total"


@pytest.fixture
async def client(services: Services) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{services.scripted.direct_url}/v1", api_key="unused", max_retries=0
    ) as client:
        yield client


async def converse(client: openai.AsyncOpenAI) -> str | None:
    reply = await client.chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "Hello"}]
    )
    return reply.choices[0].message.content


def status() -> dict[str, Any]:
    told: dict[str, Any] = ray.get(find(allocator_name(APP)).status.remote(), timeout=20)
    return told


def asked(name: str, method: str, *args: Any) -> Any:
    """Ask an actor, in any of its lives."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return ray.get(getattr(find(name), method).remote(*args), timeout=20)
        except ray.exceptions.RayActorError:
            assert time.monotonic() < deadline, f"{name} did not come back"


async def test_an_operators_policy_outlives_the_allocator(
    services: Services, client: openai.AsyncOpenAI
) -> None:
    """Ray restarts an actor with the arguments of its first life."""
    name = allocator_name(APP)
    before = status()["epoch"]
    assert asked(name, "choose_policy", "oldest_first") is None
    ray.kill(find(name), no_restart=False)
    assert await converse(client) == "All is well.", "dialogue goes on meanwhile"
    assert asked(name, "status")["epoch"] == before + 1
    assert status()["policy"] == "oldest_first"
    assert asked(name, "choose_policy", "fair_share") is None


async def test_the_service_runs_on_without_its_instruments_and_the_gap_shows(
    services: Services, client: openai.AsyncOpenAI
) -> None:
    name = instruments_name(APP)
    killed = time.time()
    ray.kill(find(name), no_restart=False)
    for _ in range(10):
        assert await converse(client) == "All is well."
    port = await asyncio.to_thread(asked, name, "port")
    assert services.scripted.metrics_url.endswith(f":{port}/metrics"), "any port would have done"
    shown: dict[str, float] = {}
    deadline = time.monotonic() + 20
    while shown.get("coordsvc_turns_total answered", 0) + shown.get(UNTOLD, 0) < 10:
        assert time.monotonic() < deadline, f"turns are neither counted nor missed: {shown}"
        await converse(client)
        await asyncio.sleep(0.3)
        shown = await page(port)
    assert shown["coordsvc_instruments_start_time_seconds"] >= killed - 1
    assert shown["coordsvc_nodes"] == 1, "the allocator tells again by itself"


async def page(port: int) -> dict[str, float]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        families = list(text_string_to_metric_families(await answer.text()))
    return {" ".join([s.name, *s.labels.values()]): s.value for f in families for s in f.samples}
