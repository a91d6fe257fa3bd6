"""The instruments' port of a real service: an operator at work, and who may not be one."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import ray

from coordsvc.serving.kept import Kept
from coordsvc.serving.ray_pool import allocator_name, find, instruments_name
from tests.integration.apps import ADMIN_KEY, METRICS_KEY, Services

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


class Desk:
    """Where an operator sits: before the port of the application `crowded`."""

    def __init__(self, services: Services, session: aiohttp.ClientSession) -> None:
        self.app = services.crowded
        self._session = session
        self._root = services.crowded.metrics_url.removesuffix("/metrics")

    async def ask(
        self, method: str, path: str, key: str | None = ADMIN_KEY, body: Any = None
    ) -> tuple[int, Any]:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = self._root + path
        async with self._session.request(method, url, headers=headers, json=body) as answer:
            plain = answer.content_type != "application/json"
            return answer.status, await (answer.text() if plain else answer.json())

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        status, told = await self.ask(method, path, body=body)
        assert status == 200, told
        return told

    async def turn(self, text: str = "Hello") -> str:
        body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
        url = f"{self.app.direct_url}/v1/chat/completions"
        async with self._session.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()
            told = await answer.json()
        return str(told["choices"][0]["message"]["content"])

    async def comes_to(self, path: str, key: str, status: int) -> None:
        """Wait until a question is answered so; through an actor's death, too."""
        deadline = time.monotonic() + 30
        while True:
            try:
                if (await self.ask("GET", path, key))[0] == status:
                    return
            except aiohttp.ClientError:
                pass
            assert time.monotonic() < deadline, f"{path} never came to {status}"
            await asyncio.sleep(0.1)


def put(file: Path, key: str) -> None:
    """Change the key as Kubernetes does: another file takes the place of the first."""
    draft = file.with_name("draft")
    draft.write_text(key)
    draft.replace(file)


@pytest.fixture
async def desk(services: Services) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as session:
        yield Desk(services, session)


async def test_each_part_of_the_port_has_its_key(desk: Desk) -> None:
    status, page = await desk.ask("GET", "/metrics", METRICS_KEY)
    assert status == 200
    assert "coordsvc_allocator_epoch" in page
    wrong = [
        ("/metrics", None),
        ("/metrics", ADMIN_KEY),
        ("/admin/pool", None),
        ("/admin/pool", METRICS_KEY),
        ("/admin/pool", "a-guess-of-some-length"),
    ]
    for path, key in wrong:
        status, told = await desk.ask("GET", path, key)
        assert status == 401, path
        assert told["error"]["type"] == "authentication_error"


async def test_where_there_is_no_admin_key_nobody_is_an_operator(
    services: Services, desk: Desk
) -> None:
    desk.app = services.scripted
    desk._root = services.scripted.metrics_url.removesuffix("/metrics")
    assert (await desk.ask("GET", "/metrics", None))[0] == 200
    status, told = await desk.ask("GET", "/admin/pool")
    assert status == 403
    assert "set metrics.admin_key_file" in told["error"]["message"]


async def test_the_policy_is_changed_while_turns_run(desk: Desk) -> None:
    async def talk() -> list[str]:
        return [await desk.turn() for _ in range(10)]

    talking = asyncio.create_task(talk())
    try:
        for name in ("oldest_first", "round_robin", "utility"):
            before = (await desk.done("GET", "/admin/policy"))["name"]
            told = await desk.done("PUT", "/admin/policy", {"name": name})
            assert told == {"name": name, "before": before}
            assert (await desk.done("GET", "/admin/pool"))["policy"] == name
        status, told = await desk.ask("PUT", "/admin/policy", body={"name": "whim"})
        assert status == 400
        assert "whim" in told["error"]["message"]
        assert await talking == ["All is well."] * 10
    finally:
        await desk.done("PUT", "/admin/policy", {"name": "fair_share"})


async def test_a_node_is_drained_and_what_waits_is_explained(desk: Desk) -> None:
    (node,) = (await desk.done("GET", "/admin/pool"))["nodes"]
    await desk.done("POST", "/admin/drain", {"node": node, "within_s": 5})
    try:
        assert (await desk.done("GET", "/admin/pool"))["draining"] == [node]
        waiting = asyncio.create_task(desk.turn())
        told: dict[str, Any] = {"desks": []}
        deadline = time.monotonic() + 20
        while not any(one["waits"] for one in told["desks"]):
            assert time.monotonic() < deadline, told
            told = await desk.done("GET", "/admin/explain?agent=planner")
        (nodes,) = (one["nodes"] for one in told["desks"] if one["waits"])
        assert nodes["draining"] == [node]
        assert not waiting.done()
    finally:
        await desk.done("POST", "/admin/reopen", {"node": node})
    assert await waiting == "All is well."
    status, told = await desk.ask("POST", "/admin/reopen", body={"node": node})
    assert status == 400
    assert node in told["error"]["message"]


async def test_an_allocator_that_died_is_asked_again_later(desk: Desk) -> None:
    before = (await desk.done("GET", "/admin/pool"))["epoch"]
    ray.kill(find(allocator_name(desk.app.app)), no_restart=False)
    status, told = await desk.ask("GET", "/admin/pool")
    assert status in {200, 503}, told
    await desk.comes_to("/admin/pool", ADMIN_KEY, 200)
    assert (await desk.done("GET", "/admin/pool"))["epoch"] == before + 1
    assert await desk.turn() == "All is well."


async def test_a_changed_key_is_taken_without_a_restart_and_outlives_one(desk: Desk) -> None:
    files = Kept(desk.app.app).key_files()
    assert files is not None
    assert files[1] is not None
    file = Path(files[1])
    changed = "another-key-of-some-length"
    try:
        put(file, changed)
        assert (await desk.ask("GET", "/admin/pool", changed))[0] == 200
        assert (await desk.ask("GET", "/admin/pool", ADMIN_KEY))[0] == 401
        ray.kill(find(instruments_name(desk.app.app)), no_restart=False)
        await desk.comes_to("/admin/pool", changed, 200)
        assert (await desk.ask("GET", "/admin/pool", ADMIN_KEY))[0] == 401
        assert (await desk.ask("GET", "/metrics", None))[0] == 401, "it does not stand open"
    finally:
        put(file, ADMIN_KEY)


def test_the_keys_are_in_no_argument_and_in_no_configuration(services: Services) -> None:
    """Whoever reads Serve's status or Ray's store reads names of files."""
    del services
    from ray.serve.context import _get_global_client  # noqa: PLC0415 - once Serve has been started

    shown = str(_get_global_client().get_serve_details())
    assert "crowded" in shown
    for key in (ADMIN_KEY, METRICS_KEY):
        assert key not in shown
