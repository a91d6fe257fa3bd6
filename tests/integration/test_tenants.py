"""Two tenants with keys on a real Ray: each has its share, whoever floods."""

import asyncio
from typing import Any

import aiohttp
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from coordsvc.serving.ray_pool import allocator_name, find
from tests.integration.apps import FLOOD, STEADY, Services

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


async def turn(services: Services, key: str, text: str = "wait") -> dict[str, Any]:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{services.shared.url}/v1/chat/completions", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())


async def test_a_tenant_that_floods_takes_nothing_of_anothers_guarantee(
    services: Services,
) -> None:
    """Two slots, two dozen turns before it: in one line the steady one would be the last."""
    flood = [asyncio.create_task(turn(services, FLOOD)) for _ in range(24)]
    await asyncio.sleep(2)
    for _ in range(2):
        await turn(services, STEADY)
    ended = sum(task.done() for task in flood)
    status = ray.get(find(allocator_name(services.shared.app)).status.remote(), timeout=10)
    await asyncio.gather(*flood)
    assert ended < 12, "both turns of the steady tenant were done before half of the flood"
    agents = {desk["agent"] for desk in status["desks"].values()}
    assert {"steady/planner", "flood/planner", "flood/responder"} <= agents
    assert status["broken_reservations"] == 0


async def test_who_has_no_key_or_a_wrong_one_is_told_so_and_counted(services: Services) -> None:
    url = f"{services.shared.direct_url}/v1/models"
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"Authorization": "Bearer ck-wrong"}):
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 401
                assert (await answer.json())["error"]["type"] == "authentication_error"
        await turn(services, STEADY, "Hello")
        await asyncio.sleep(1)
        async with session.get(services.shared.metrics_url) as page:
            families = list(text_string_to_metric_families(await page.text()))
    shown = {(s.name, *sorted(s.labels.values())): s.value for f in families for s in f.samples}
    assert shown["coordsvc_requests_refused_total", "no_key"] >= 1
    assert shown["coordsvc_requests_refused_total", "wrong_key"] >= 1
    assert shown["coordsvc_tenant_turns_total", "answered", "steady"] >= 1
    assert ("coordsvc_tenant_alloc", "cpu", "steady") in shown
    assert ("coordsvc_alloc", "cpu", "planner") in shown
    assert ("coordsvc_alloc", "cpu", "steady/planner") not in shown, "that would be too many"
