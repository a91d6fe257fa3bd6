"""Bodies that are too large, too slow, of the wrong kind, or interrupted."""

import asyncio
import json

import pytest

from tests.unit.serving.http.fakes import JSON, RawClient, ask, build

pytestmark = pytest.mark.asyncio

BODY = json.dumps(ask()).encode()
TYPE = (b"content-type", b"application/json")


async def test_a_body_may_come_in_pieces() -> None:
    house = build()
    client = RawClient(house.app, [BODY[:9], b"", BODY[9:]])
    await client.run()
    assert client.status == 200


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    client = RawClient(build().app, [BODY], [TYPE, (b"content-length", b"9" * 5000)])
    await client.run()
    assert client.status == 413
    assert client.pieces == [BODY]
    assert client.header(b"connection") is None


@pytest.mark.parametrize("declared", [[], [(b"content-length", b"10")]])
async def test_the_limit_counts_what_arrives(declared: list[tuple[bytes, bytes]]) -> None:
    client = RawClient(build().app, [b"x" * 600_000] * 10, [TYPE, *declared])
    await client.run()
    assert client.status == 413
    assert len(client.pieces) == 8
    assert json.loads(client.body)["error"]["code"] == "body_too_large"


async def test_a_body_of_just_the_limit_is_read() -> None:
    house = build(body_bytes_max=2000)
    assert (await house.post(BODY.ljust(2000))).status_code == 200
    assert (await house.post(BODY.ljust(2001))).status_code == 413


async def test_a_trickling_body_times_out() -> None:
    house = build(body_s=0.02)

    async def trickle() -> None:
        await asyncio.sleep(0.005)

    client = RawClient(house.app, [b" "] * 100, on_read=trickle)
    await client.run()
    assert client.status == 408


async def test_a_client_that_leaves_before_its_body_is_in_gets_no_answer_and_no_turn() -> None:
    house = build()
    client = RawClient(house.app, [])
    client.hung_up.set()
    await client.run()
    assert client.got == []
    assert house.turns.asked == []


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
async def test_other_types_are_refused(content_type: str) -> None:
    reply = await build().post(ask(), {"content-type": content_type})
    assert reply.status_code == 415
    assert reply.json()["error"]["code"] == "unsupported_media_type"


async def test_json_by_its_other_names_is_read() -> None:
    for name in ("application/json;charset=UTF-8", "Application/JSON", "application/json ; x=y"):
        assert (await build().post(ask(), {"content-type": name})).status_code == 200


async def test_a_compressed_body_is_refused_by_name() -> None:
    reply = await build().post(ask(), JSON | {"content-encoding": "gzip"})
    assert reply.status_code == 415
    assert "Content-Encoding" in reply.json()["error"]["message"]
