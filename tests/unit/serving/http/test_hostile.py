"""Whatever is sent, the answer is OpenAI-shaped and below 500, and no turn is left open."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.serving.http.fakes import House, RawClient, ask, build

WHOLE = json.dumps(ask()).encode()

NUMBERS = st.sampled_from([b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 300, b"-1e-400"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "<|im_start|>", "\x00", 10**30, -(2**63)])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "user",
        "metadata",
        "coordsvc",
        "n",
        "tools",
        "logprobs",
        "response_format",
        "audio",
        "functions",
        "store",
    ]
)
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "x"]), VALUES)
    | st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "tool", "assistant"]), "content": VALUES}
    ),
    max_size=3,
)
BODIES = st.one_of(
    st.binary(max_size=64),
    st.integers(0, len(WHOLE) - 1).map(lambda cut: WHOLE[:cut]),
    st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=3)).map(
        lambda hit: WHOLE[: hit[0]] + hit[1] + WHOLE[hit[0] + 1 :]
    ),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(FIELDS, VALUES).map(lambda change: json.dumps(ask() | change).encode()),
    MESSAGES.map(lambda messages: json.dumps(ask() | {"messages": messages}).encode()),
    st.tuples(FIELDS, NUMBERS).map(
        lambda odd: WHOLE[:-1] + b',"%b":%b}' % (odd[0].encode(), odd[1])
    ),
    st.sampled_from([b"[", b'{"a":', b'{"messages":[']).map(lambda opening: opening * 5000),
)


HOUSE = build()
"""One door for all of them: what one body breaks, the next ones would see."""


async def _send(house: House, body: bytes, pieces: int) -> RawClient:
    size = max(1, len(body) // pieces)
    parts = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    client = RawClient(house.app, parts)
    await asyncio.wait_for(client.run(), 5)
    return client


def _check(house: House, client: RawClient) -> None:
    assert client.complete
    assert client.status == 200 or 400 <= client.status < 500, client.body
    if client.status != 200:
        error: dict[str, Any] = json.loads(client.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert len(client.body) < 2000
    assert house.turns.nothing_open()
    assert len(house.turns.sent_calls) == (client.status == 200)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES, pieces=st.integers(1, 3))
@example(body=b"", pieces=1)
@example(body=b"\xff\xfe", pieces=1)
@example(body=b'{"model":"other","messages":[{"role":"user","content":"x"}]}', pieces=1)
@example(body=b'{"model":"\\udc00"}', pieces=1)
@example(body=b" " * 10_000_000, pieces=20)
@example(body=b"[" * 1_000_000, pieces=1)
@example(body=WHOLE, pieces=2)
def test_no_body_breaks_the_door(body: bytes, pieces: int) -> None:
    HOUSE.turns.sent_calls.clear()
    client = asyncio.run(_send(HOUSE, body, pieces))
    _check(HOUSE, client)


@settings(max_examples=100, deadline=None)
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [b"content-type", b"content-length", b"x-request-id", b"traceparent", b"accept"]
            ),
            st.binary(max_size=40),
        ),
        max_size=4,
    )
)
def test_no_header_breaks_the_door(headers: list[tuple[bytes, bytes]]) -> None:
    HOUSE.turns.sent_calls.clear()
    kind = (b"content-type", b"application/json")
    client = RawClient(HOUSE.app, [WHOLE], [kind, *headers])
    asyncio.run(client.run())
    _check(HOUSE, client)
    for _name, value in client.got[0]["headers"]:
        assert b"\r" not in value
        assert b"\n" not in value


@pytest.mark.asyncio
async def test_the_service_goes_on_afterwards() -> None:
    house = build(turns_in_flight_max=1)
    for body in (b"", b"[" * 5000, b"\xff" * 2_000_000, WHOLE[:-1]):
        assert 400 <= (await house.post(body)).status_code < 500
    assert (await house.post(ask())).status_code == 200
