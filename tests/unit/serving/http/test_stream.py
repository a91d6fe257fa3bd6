"""Server-sent events: their order, their end, slow readers and those who leave."""

import asyncio
import json
import logging

import pytest

from coordsvc.core.errors import DeadlinePassed
from tests.unit.serving.http.fakes import (
    MODEL,
    RawClient,
    account,
    ask,
    build,
    events,
    result,
    until,
)

pytestmark = pytest.mark.asyncio


def raw(app: object, **fields: object) -> RawClient:
    return RawClient(app, [json.dumps(ask(stream=True, **fields)).encode()])


async def pause() -> None:
    """Let the client see what came so far."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_chunks_come_in_openai_order() -> None:
    house = build("Hello ", pause, "there.", pause, result())
    reply = await house.post(ask(stream=True))
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, done = events(reply.content)
    assert done == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert deltas[1:] == [{"content": "Hello "}, {"content": "there."}, {}]
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None, None, None, "stop"]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert {(c["id"], c["model"]) for c in chunks} == {(chunks[0]["id"], MODEL)}
    assert all("usage" not in chunk for chunk in chunks)
    assert ["coordsvc" in chunk for chunk in chunks] == [False, False, False, True]
    assert chunks[-1]["coordsvc"]["account"]["wall_s"] == 0.02
    assert house.turns.asked[0].stream is True
    assert len(house.turns.sent_calls) == 1


async def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    reply = await build().post(ask(stream=True, stream_options={"include_usage": True}))
    *chunks, last, _done = events(reply.content)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35}
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)


async def test_a_checked_reply_without_pieces_is_still_told_whole() -> None:
    reply = await build(result("Checked.")).post(ask(stream=True))
    assert spoken(reply.content) == "Checked."


async def test_text_that_only_the_result_has_is_not_lost() -> None:
    reply = await build("Hello ", pause, result("Hello there.")).post(ask(stream=True))
    assert spoken(reply.content) == "Hello there."


async def test_an_empty_reply_is_a_reply() -> None:
    reply = await build("", result("", finish="length")).post(ask(stream=True))
    *_, last, done = events(reply.content)
    assert (spoken(reply.content), last["choices"][0]["finish_reason"], done) == (
        "",
        "length",
        "[DONE]",
    )


async def test_line_ends_of_every_kind_stay_inside_their_event() -> None:
    text = "a\nb\r\nc\u2028d\u0085e\x0bf\x00g é 日本 😀"
    reply = await build(text, result(text)).post(ask(stream=True))
    assert spoken(reply.content) == text
    assert reply.content.isascii()


async def test_made_up_text_says_so_from_the_first_chunk_if_known_else_in_the_last() -> None:
    known = events((await build(emulated=True).post(ask(stream=True))).content)
    assert all("emulated" in chunk["model"] for chunk in known[:-1])
    script = ("Hello there.", pause, result(account=account(emulated=True)))
    found = events((await build(*script).post(ask(stream=True))).content)
    assert "emulated" in found[-2]["model"]
    assert found[-2]["coordsvc"]["emulated"] is True


async def test_an_error_after_the_first_word_is_told_in_the_stream_which_then_ends() -> None:
    house = build("Hel", pause, DeadlinePassed("30 s"))
    client = raw(house.app)
    await client.run()
    *_, last = events(client.body)
    assert last["error"]["code"] == "deadline_passed"
    assert client.complete
    assert house.turns.nothing_open()
    assert house.turns.sent_calls == []


async def test_a_bug_after_the_first_word_is_told_without_internals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = raw(build("Hel", pause, RuntimeError("secret")).app)
    await client.run()
    assert events(client.body)[-1]["error"]["code"] == "internal_error"
    assert b"secret" not in client.body
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1


async def test_words_said_before_an_error_are_not_lost() -> None:
    reply = await build("Hel", DeadlinePassed("30 s")).post(ask(stream=True))
    assert spoken(reply.content) == "Hel"
    assert "error" in events(reply.content)[-1]


async def test_a_client_that_hangs_up_ends_its_stream_at_once() -> None:
    house = build("Hel", asyncio.Event().wait, result())
    client = raw(house.app)
    request = asyncio.create_task(client.run())
    await client.body_so_far(b"Hel")
    client.hung_up.set()
    await asyncio.wait_for(request, 1)
    assert house.turns.nothing_open()
    assert house.turns.closed_early == [house.turns.asked[0].turn_id]
    assert house.turns.sent_calls == []


async def test_a_client_that_hangs_up_while_it_is_being_waited_for_ends_the_turn_too() -> None:
    house = build("Hel", asyncio.Event().wait, result())
    client = raw(house.app)
    stuck = asyncio.Event()

    async def full(_message: dict[str, object]) -> None:
        await stuck.wait()

    client.on_send = full
    request = asyncio.create_task(client.run())
    await until(lambda: house.turns.open)
    await pause()
    client.hung_up.set()
    await pause()
    assert house.turns.nothing_open()
    stuck.set()
    await asyncio.wait_for(request, 1)


async def test_a_slow_reader_holds_up_neither_the_turn_nor_loses_a_word() -> None:
    words = [f"w{i} " for i in range(200)]
    house = build(*words, result("".join(words)))
    client = raw(house.app)
    free = asyncio.Event()

    async def full(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            await free.wait()

    client.on_send = full
    request = asyncio.create_task(client.run())
    await until(lambda: house.turns.recent)
    await pause()
    assert house.turns.nothing_open()
    assert not client.complete
    free.set()
    await request
    assert spoken(client.body) == "".join(words)
    assert len(client.got) < 10


@pytest.mark.parametrize("stuck_at", ["http.response.start", "http.response.body"])
async def test_a_reader_that_stops_is_dropped(
    stuck_at: str, caplog: pytest.LogCaptureFixture
) -> None:
    house = build("Hel", pause, "lo", asyncio.Event().wait, result(), slow_client_s=0.02)
    client = raw(house.app)

    async def full(message: dict[str, object]) -> None:
        if message["type"] == stuck_at:
            await asyncio.Event().wait()

    client.on_send = full
    with caplog.at_level(logging.INFO):
        await asyncio.wait_for(client.run(), 1)
    assert not client.complete
    assert house.turns.nothing_open()
    assert house.turns.sent_calls == []
    assert house.turns.unsent_calls == [], "it had no result"
    assert "took no byte for 0.02 s" in caplog.text


async def test_a_reader_that_stops_before_the_last_byte_leaves_its_turn_unsent() -> None:
    house = build("Hello there.", result(), slow_client_s=0.02)
    client = raw(house.app)

    async def full(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    client.on_send = full
    await asyncio.wait_for(client.run(), 1)
    assert house.turns.sent_calls == []
    assert house.turns.unsent_calls == [house.turns.asked[0].turn_id]


async def test_a_transport_that_breaks_is_a_client_that_left() -> None:
    house = build("Hel", asyncio.Event().wait, result())
    client = raw(house.app)

    async def broken(_message: dict[str, object]) -> None:
        raise ConnectionResetError

    client.on_send = broken
    await asyncio.wait_for(client.run(), 1)
    assert house.turns.nothing_open()


def spoken(body: bytes) -> str:
    chunks = [event for event in events(body) if event != "[DONE]" and "choices" in event]
    return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
