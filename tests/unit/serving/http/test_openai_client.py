"""The official client, talking to the door as to OpenAI."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import openai
import pytest
import pytest_asyncio

from coordsvc.core.errors import DeadlinePassed, Overloaded
from tests.unit.serving.http.fakes import MODEL, House, build

pytestmark = pytest.mark.asyncio

QUESTION = {"role": "user", "content": "Hi"}


def connect(house: House) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        api_key="unused",
        base_url="http://door/v1",
        max_retries=0,
        http_client=httpx.AsyncClient(transport=httpx.ASGITransport(app=house.app)),
    )


@pytest_asyncio.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with connect(build()) as client:
        yield client


async def test_plain(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model=MODEL, messages=[QUESTION], seed=1)
    assert reply.choices[0].message.content == "Hello there."
    assert reply.usage.total_tokens == 35
    assert reply.coordsvc["verdict"]["accept"] is True
    assert reply._request_id.startswith("req-")


async def test_extension_goes_in_the_extra_body(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(
        model=MODEL, messages=[QUESTION], extra_body={"coordsvc": {"account": False}}
    )
    assert "account" not in reply.coordsvc


async def test_streaming(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[QUESTION],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    said = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(said) == "Hello there."
    assert chunks[-1].usage.completion_tokens == 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].coordsvc["account"]["c_coord_s"] == 0.005


async def test_the_clients_own_stream_helper_is_content(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model=MODEL, messages=[QUESTION]) as stream:
        async for _event in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "Hello there."


async def test_a_dialogue_of_several_turns_sends_replies_back_as_they_came() -> None:
    house = build()
    messages: list[object] = []
    async with connect(house) as client:
        for turn in range(3):
            messages.append({"role": "user", "content": f"question {turn}"})
            reply = await client.chat.completions.create(model=MODEL, messages=messages)
            messages.append(reply.choices[0].message)
            messages[-1] = reply.choices[0].message.model_dump()
    speakers = [message.speaker for message in house.turns.asked[-1].conversation]
    assert speakers == ["user", "assistant", "user", "assistant", "user"]


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [MODEL]
    assert (await client.models.retrieve(MODEL)).owned_by == "coordsvc"


async def test_errors_arrive_as_the_clients_own_types() -> None:
    async def create(house: House, **changes: object) -> None:
        asked = {"model": MODEL, "messages": [QUESTION]} | changes
        async with connect(house) as client:
            await client.chat.completions.create(**asked)

    with pytest.raises(openai.BadRequestError, match="temperature") as bad:
        await create(build(), temperature=3)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError) as missing:
        await create(build(), model="other")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError) as full:
        await create(build(Overloaded("full")))
    assert full.value.response.headers["retry-after"] == "1"
    with pytest.raises(openai.InternalServerError):
        await create(build(DeadlinePassed("late")))
    with pytest.raises(openai.BadRequestError, match="tools"):
        await create(build(), tools=[{"type": "function", "function": {"name": "f"}}])


async def test_an_error_in_mid_stream_is_raised_by_the_client() -> None:
    async def pause() -> None:
        await asyncio.sleep(0.01)

    said = []

    async def listen(client: openai.AsyncOpenAI) -> None:
        async for chunk in await client.chat.completions.create(
            model=MODEL, messages=[QUESTION], stream=True
        ):
            said.append(chunk.choices[0].delta.content)  # noqa: PERF401 - ends in an error

    async with connect(build("Hel", pause, DeadlinePassed("late"))) as client:
        with pytest.raises(openai.APIError, match="deadline"):
            await listen(client)
    assert said == ["", "Hel"]
