"""Many prompts through a service: which is answered how, and what all came to."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coordsvc.bench.prompts import Plan, send
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import Message

PLAN = Plan(model="m", clients=2, tokens_max=24)


def prompts(count: int) -> list[list[Message]]:
    return [[Message("system", "Be kind."), Message("user", f"Q{n}")] for n in range(count)]


def turn(text: str, c_coord_s: float) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "coordsvc": {
            "emulated": False,
            "account": {
                "c_coord_s": c_coord_s,
                "parts_s": {"offer_wait": c_coord_s, "call": 0.0},
                "output_tokens": 10,
            },
        },
    }


@asynccontextmanager
async def service(asked: list[Any], faults: Mapping[str, str]) -> AsyncGenerator[str]:
    """A door that answers a question with itself; some it refuses."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body)
        question = body["messages"][-1]["content"]
        if (fault := faults.get(question)) is not None:
            return web.json_response({"error": {"message": fault}}, status=400)
        return web.json_response(turn(f"{question}!", 0.1 * int(question[1:])))

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


async def test_each_prompt_is_sent_once_whole_and_its_reply_kept_by_its_number() -> None:
    asked: list[Any] = []
    sent: list[int] = []
    async with service(asked, {}) as url:
        served = await send(url, prompts(5), PLAN, sent.append)
    assert sorted(sent) == [0, 1, 2, 3, 4]
    assert [(one.prompt, one.text) for one in served.replies] == [(n, f"Q{n}!") for n in range(5)]
    first = next(body for body in asked if body["messages"][-1]["content"] == "Q0")
    assert first["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("m", 24, 0)
    assert first["coordsvc"] == {"account": True}


async def test_the_account_of_all_turns_is_summed_up() -> None:
    async with service([], {}) as url:
        told = (await send(url, prompts(5), PLAN, lambda _: None)).figures
    assert (told["prompts"], told["answered"], told["clients"]) == (5, 5, 2)
    assert told["c_coord_mean_s"] == 0.2
    assert told["c_coord_p95_s"] == 0.4
    assert told["c_coord_parts_s"] == {"offer_wait": 0.2, "call": 0.0}
    assert told["emulated"] is False


async def test_prompts_that_are_refused_are_counted_and_left_out() -> None:
    async with service([], {"Q1": "too long"}) as url:
        served = await send(url, prompts(3), PLAN, lambda _: None)
    assert (served.figures["prompts"], served.figures["answered"]) == (3, 2)
    assert [one.prompt for one in served.replies] == [0, 2]


async def test_where_nothing_is_answered_the_reason_is_told() -> None:
    async with service([], {"Q0": "no such model"}) as url:
        with pytest.raises(BadRequest, match=r"none of 1 prompts was answered: 400: no such model"):
            await send(url, prompts(1), PLAN, lambda _: None)


async def test_no_prompts_are_no_measurement() -> None:
    with pytest.raises(BadRequest, match="no prompt to send"):
        await send("http://127.0.0.1:1", [], PLAN, lambda _: None)
