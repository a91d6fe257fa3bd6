"""What a request may say: each refusal names the field, and says what would be right."""

from typing import Any

import pytest

from tests.unit.serving.http.fakes import MODEL, ask, build

pytestmark = pytest.mark.asyncio

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "Hi"}, "messages", "valid array"),
        ({"messages": [USER] * 300}, "messages", "at most 256"),
        ({"messages": [USER] * 2000}, "messages", "at most 1024"),
        ({"messages": [{**USER, "role": "tool"}]}, "messages[0].role", "'user'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "required"),
        ({"messages": [USER, {**USER, "content": 5}]}, "messages[1].content", "string or a list"),
        ({"messages": [{**USER, "content": None}]}, "messages[0].content", "string or a list"),
        ({"messages": [{**USER, "content": []}]}, "messages[0].content", "at least 1"),
        (
            {"messages": [{**USER, "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].type",
            "'text'",
        ),
        (
            {"messages": [{**USER, "content": [{"type": "text", "text": "a", "b": 1}]}]},
            "messages[0].content[0].b",
            "not known",
        ),
        ({"messages": [{**USER, "weight": 1}]}, "messages[0].weight", "not known"),
        ({"messages": [{**USER, "tool_calls": [{}]}]}, "messages[0].tool_calls", "not supported"),
        (
            {"messages": [USER, {"role": "assistant", "content": "x"}]},
            "messages[1].role",
            "should be 'user'",
        ),
        ({"temperature": 2.1}, "temperature", "less than or equal to 2"),
        ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
        ({"temperature": True}, "temperature", "valid number"),
        ({"temperature": "1"}, "temperature", "valid number"),
        ({"top_p": 1.5}, "top_p", "less than or equal to 1"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": True}, "max_tokens", "valid integer"),
        ({"max_tokens": 1.5}, "max_tokens", "valid integer"),
        ({"max_tokens": 10**400}, "max_tokens", "at most 4096"),
        ({"max_completion_tokens": 4097}, "max_completion_tokens", "at most 4096"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", "differ"),
        ({"seed": 2**63}, "seed", "less than"),
        ({"seed": "x"}, "seed", "valid integer"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"stop": [""]}, "stop[0]", "at least 1"),
        ({"stop": ""}, "stop", "at least 1"),
        ({"stop": 5}, "stop", "string or a list"),
        ({"stop": "x" * 257}, "stop", "256"),
        ({"stream": "yes"}, "stream", "boolean"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "'stream': true"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "not known"),
        ({"metadata": {"k": 1}}, "metadata", "string"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "at most 16"),
        ({"user": "x" * 300}, "user", "at most 256"),
        ({"colour": "red"}, "colour", "not known"),
        ({"n": 2}, "n", "send 1"),
        ({"n": True}, "n", "send 1"),
        ({"tools": [{"type": "function"}]}, "tools", "not supported"),
        ({"tool_choice": "required"}, "tool_choice", "not supported"),
        ({"functions": [{}]}, "functions", "not supported"),
        ({"logprobs": True}, "logprobs", "not supported"),
        ({"audio": {"voice": "x"}}, "audio", "not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", '{"type":"text"}'),
        ({"presence_penalty": 0.5}, "presence_penalty", "send 0"),
        ({"coordsvc": {"mode": "fast"}}, "coordsvc.mode", "'stream_then_check'"),
        ({"coordsvc": {"deadline_s": 0}}, "coordsvc.deadline_s", "greater than 0"),
        ({"coordsvc": {"deadline_s": 601}}, "coordsvc.deadline_s", "at most 600"),
        ({"coordsvc": {"fast": True}}, "coordsvc.fast", "not known"),
        ({"coordsvc": []}, "coordsvc", "object"),
        ({"model": 5}, "model", "valid string"),
    ],
)
async def test_a_wrong_field_is_named_and_set_right(
    change: dict[str, Any], param: str, says: str
) -> None:
    house = build()
    reply = await house.post(ask() | change)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param, error
    assert says in error["message"], error
    assert param in error["message"], error
    assert house.turns.asked == []


async def test_an_unknown_model_is_a_404_that_names_the_served_one() -> None:
    reply = await build().post(ask() | {"model": "gpt-4o"})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert MODEL in error["message"]


async def test_a_missing_field_is_required() -> None:
    error = (await build().post({"model": MODEL})).json()["error"]
    assert (error["param"], error["code"]) == ("messages", "missing_required_parameter")


@pytest.mark.parametrize(
    "harmless",
    [
        {"n": 1},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}},
        {"logprobs": False, "top_logprobs": None},
        {"response_format": {"type": "text"}},
        {"tools": [], "tool_choice": "none", "parallel_tool_calls": True, "functions": None},
        {"store": False, "service_tier": "auto", "modalities": ["text"], "audio": None},
        {"user": "me", "metadata": {"k": "v"}, "prompt_cache_key": "k", "safety_identifier": "s"},
        {"max_tokens": 5, "max_completion_tokens": 5, "stop": []},
        {"temperature": 0, "top_p": 1, "seed": 0, "stream": False},
        {"messages": [USER | {"name": "Ann", "refusal": None, "annotations": []}]},
    ],
)
async def test_what_asks_for_nothing_is_let_through(harmless: dict[str, Any]) -> None:
    reply = await build().post(ask() | harmless)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b"[]", "JSON object"),
        (b"null", "JSON object"),
        (b'{"model":"\xff"}', "unicode"),
        (b'{"model":"\\ud800"}', "escape"),
        (b'{"\\udfff":1}', "lone"),
        (b"[" * 100_000, "recursion"),
        (b'{"metadata":' * 300 + b"}" * 300, "recursion"),
        (b"9" * 100_000, "out of range"),
        (b"\xef\xbb\xbf{}", "expected value"),
    ],
)
async def test_what_is_no_json_is_refused(body: bytes, says: str) -> None:
    reply = await build().post(body)
    assert reply.status_code == 400
    assert says in reply.json()["error"]["message"]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
@pytest.mark.parametrize("name", [b"temperature", b"seed", b"presence_penalty", b"metadata"])
async def test_what_is_no_number_is_refused(name: bytes, number: bytes) -> None:
    body = b'{"model":"coordsvc-test","messages":[{"role":"user","content":"x"}],"%b":%b}'
    reply = await build().post(body % (name, number))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == name.decode()


async def test_a_repeated_key_counts_once() -> None:
    body = b'{"model":"x","model":"coordsvc-test","messages":[{"role":"user","content":"x"}]}'
    assert (await build().post(body)).status_code == 200


async def test_a_hostile_list_buys_one_error() -> None:
    for item in (b"1", b'{"role":1}', b'{"role":"user","content":[1,1]}'):
        count = 1_000_000 // (len(item) + 1)
        messages = b",".join([item] * count)
        reply = await build().post(b'{"model":"m","messages":[' + messages + b"]}")
        assert reply.status_code == 400
        assert len(reply.content) < 300
