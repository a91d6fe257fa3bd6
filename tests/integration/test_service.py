"""A turn over HTTP on a real Ray: three agents, real offers, scripted engines."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from coordsvc.serving.ray_pool import allocator_name, find
from tests.integration.apps import STORY, Services

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


@pytest.fixture
async def client(services: Services) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{services.scripted.direct_url}/v1", api_key="unused", max_retries=0
    ) as client:
        yield client


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def pool(app: str) -> dict[str, Any]:
    return ray.get(find(allocator_name(app)).status.remote(), timeout=10)


async def until(what: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.05)


async def test_the_official_client_holds_a_dialogue_of_several_turns(
    client: openai.AsyncOpenAI,
) -> None:
    model = (await client.models.list()).data[0].id
    conversation = said("Hello")
    for question in ("And then?", "And then?"):
        reply = await client.chat.completions.create(model=model, messages=conversation)
        text = reply.choices[0].message.content
        assert text == "All is well."
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        conversation += [{"role": "assistant", "content": text}, *said(question)]


async def test_tokens_reach_the_client_as_they_are_made(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="scripted",
        messages=said("Tell me a slow story"),
        stream=True,
        extra_body={"coordsvc": {"mode": "stream_then_check"}},
    )
    arrivals, text = [], ""
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            arrivals.append(time.monotonic())
            text += chunk.choices[0].delta.content
    assert text == STORY
    assert len(arrivals) > 20
    assert arrivals[-1] - arrivals[0] > 1.0, "the pieces came spread over the reply's making"


async def test_checked_replies_come_whole_after_the_check(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="scripted",
        messages=said("Tell me a story"),
        stream=True,
        extra_body={"coordsvc": {"mode": "check_then_send"}},
    )
    pieces = [
        chunk.choices[0].delta.content
        async for chunk in stream
        if chunk.choices and chunk.choices[0].delta.content
    ]
    assert pieces == [STORY]


async def test_a_check_after_the_reply_is_told_under_the_turn(services: Services) -> None:
    body = {
        "model": "scripted",
        "messages": said("Hello"),
        "coordsvc": {"mode": "stream_then_check"},
    }
    url = services.scripted.direct_url
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            turn = (await answer.json())["coordsvc"]["turn_id"]
        for _ in range(100):
            async with session.get(f"{url}/v1/turns/{turn}") as answer:
                found = await answer.json()
            if found["coordsvc"]["verdict"] is not None:
                break
            await asyncio.sleep(0.05)
    assert found["coordsvc"]["verdict"]["accept"] is True
    assert found["coordsvc"]["account"]["post_reply_s"] > 0


async def test_the_account_of_a_turn_closes(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="scripted", messages=said("wait a moment"))
    account = reply.model_extra["coordsvc"]["account"]
    parts = sum(account["parts_s"].values())
    assert account["wall_s"] == pytest.approx(account["solo_s"] + parts, abs=1e-5)
    assert account["c_coord_s"] == pytest.approx(parts, abs=1e-5)
    assert [phase["phase"] for phase in account["phases"]] == ["plan", "respond", "check"]


async def test_serves_own_proxy_answers_too(services: Services) -> None:
    headers = {"X-Request-ID": "my-own-id"}
    async with aiohttp.ClientSession(headers=headers) as session:
        body = {"model": "scripted", "messages": said("Hello")}
        url = f"{services.scripted.url}/v1/chat/completions"
        async with session.post(url, json=body) as answer:
            assert answer.status == 200
            assert answer.headers["X-Request-ID"] == "my-own-id"
        async with session.get(f"{services.scripted.url}/readyz") as answer:
            assert answer.status == 200


async def test_metrics_tell_of_turns_offers_and_alloc(
    services: Services, client: openai.AsyncOpenAI
) -> None:
    await client.chat.completions.create(model="scripted", messages=said("Hello"))
    await asyncio.sleep(1.5)  # instruments are told every quarter second, the pool every half
    async with (
        aiohttp.ClientSession() as session,
        session.get(services.scripted.metrics_url) as page,
    ):
        families = {f.name: f for f in text_string_to_metric_families(await page.text())}
    assert all(family.documentation for family in families.values())
    assert families["coordsvc_turn_seconds"].type == "histogram"
    assert families["coordsvc_nodes"].samples[0].value == 1
    assert families["coordsvc_broken_reservations"].samples[0].value == 0
    held = {tuple(s.labels.values()): s.value for s in families["coordsvc_alloc"].samples}
    whole = {s.labels["resource"]: s.value for s in families["coordsvc_capacity"].samples}
    assert sum(amount for (_, name), amount in held.items() if name == "cpu") <= whole["cpu"]
    parts = {s.labels.get("part") for s in families["coordsvc_c_coord_part_seconds"].samples}
    assert {"offer_wait", "engine_queue", "contention", "call", "unexplained"} <= parts


async def test_the_fleets_account_and_what_runs_are_shown(
    services: Services, client: openai.AsyncOpenAI
) -> None:
    """The states add up to the accelerator's time; Serve is asked every five seconds."""

    async def shown() -> dict[tuple[str, ...], float]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(services.scripted.metrics_url) as page,
        ):
            families = list(text_string_to_metric_families(await page.text()))
        return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}

    first, began = await shown(), time.monotonic()
    for _ in range(20):
        await client.chat.completions.create(model="scripted", messages=said("Hello"))
    await asyncio.sleep(8)
    last, lasted = await shown(), time.monotonic() - began
    states = {
        state: last["coordsvc_share_seconds_total", state]
        - first["coordsvc_share_seconds_total", state]
        for state in ("computing", "held", "blocked", "stranded", "idle")
    }
    assert last["coordsvc_accelerators",] == 1
    assert states["computing"] > 0
    assert sum(states.values()) == pytest.approx(lasted, abs=3), "the last second or two lag"
    remainder = ("coordsvc_fleet_remainder_seconds_total",)
    assert last[remainder] - first[remainder] < 0.5, "what came before is other tests' doing"
    assert last["coordsvc_c_algo_seconds",] > 0
    assert last["coordsvc_replicas", "Engine"] == 1
    assert last["coordsvc_placement_groups", "created"] == 1
    assert last["coordsvc_placement_groups", "pending"] == 0


async def test_a_client_that_hangs_up_leaves_no_grant_behind(services: Services) -> None:
    body = {
        "model": "scripted",
        "messages": said("Tell me a slow story"),
        "stream": True,
        "coordsvc": {"mode": "stream_then_check"},
    }
    url = f"{services.scripted.direct_url}/v1/chat/completions"
    for _ in range(4):
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
            await answer.content.readline()
    # the story would take three seconds; the allocator knows within two watches of the engine
    open_before_end = time.monotonic() + 2.9
    await until(lambda: accepted("scripted") == 0)
    assert time.monotonic() < open_before_end + 1.5


def accepted(app: str) -> int:
    """Return how many grants the allocator counts beyond what desks hold ahead."""
    status = pool(app)
    return status["offers_open"] - sum(desk["offers"] for desk in status["desks"].values())


async def test_more_load_than_capacity_is_told_when_to_come_back(services: Services) -> None:
    url = f"{services.crowded.direct_url}/v1/chat/completions"
    body = {"model": "scripted", "messages": said("wait a moment")}

    async def ask(session: aiohttp.ClientSession) -> tuple[int, str | None, Any]:
        async with session.post(url, json=body) as answer:
            return answer.status, answer.headers.get("Retry-After"), await answer.json()

    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(ask(session) for _ in range(8)))
    refused = [answer for answer in answers if answer[0] == 429]
    assert [answer[0] for answer in answers].count(200) == 2
    assert len(refused) == 6
    assert all(wait == "3" for _, wait, _ in refused)
    assert all(told["error"]["type"] == "rate_limit_error" for _, _, told in refused)


BAD: list[tuple[bytes, int]] = [
    (b"", 400),
    (b'{"model": "scripted", "mess', 400),
    (b"\xff\xfe{}", 400),
    (b"[" * 100_000, 400),
    (b'"a string"', 400),
    (json.dumps({"model": "scripted", "messages": []}).encode(), 400),
    (json.dumps({"model": "other", "messages": said("x")}).encode(), 404),
    (json.dumps({"model": "scripted", "messages": said("x"), "max_tokens": -1}).encode(), 400),
    (b'{"model":"scripted","messages":[{"role":"user","content":"x"}],"temperature":NaN}', 400),
    (
        b'{"model":"scripted","messages":[{"role":"user","content":"' + b"x" * 10_000_000 + b'"}]}',
        413,
    ),
    (json.dumps({"model": "scripted", "messages": said("word " * 9_000)}).encode(), 400),
]


@pytest.mark.parametrize(("body", "status"), BAD, ids=lambda given: str(given)[:40])
async def test_bad_input_is_refused_in_openais_shape(
    services: Services, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    url = f"{services.scripted.direct_url}/v1/chat/completions"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=io.BytesIO(body)) as answer,
    ):
        assert answer.status == status
        error = (await answer.json())["error"]
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    await until(lambda: accepted("scripted") == 0)
