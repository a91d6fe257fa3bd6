"""The small client of the service's own door, against a server that answers as it is told."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from coordsvc.cli.client import Client, ServiceError, connected
from coordsvc.core.errors import BadRequest

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
ERROR = {"error": {"message": "come back later", "type": "overloaded"}}


class Service:
    """Answers everything with one status and body, and keeps what it was asked."""

    def __init__(self, body: object = None, status: int = 200, *, cut: bool = False) -> None:
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._status = status
        self._cut = cut
        self.asked: list[tuple[str, str, Any]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        sent = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, sent))
        response = web.StreamResponse(status=self._status)
        if self._cut:
            response.content_length = len(self._body) + 100
        await response.prepare(request)
        await response.write(self._body)
        if self._cut:
            assert request.transport is not None
            request.transport.close()
        return response

    @asynccontextmanager
    async def reached(self) -> AsyncGenerator[Client]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        async with TestServer(app) as server, connected(str(server.make_url("/"))) as client:
            yield client


def sse(*events: object) -> bytes:
    """Return a stream of server-sent events; a text stands for itself."""
    said = (event if isinstance(event, str) else json.dumps(event) for event in events)
    return "".join(f"data: {event}\n\n" for event in said).encode()


async def chunks(client: Client) -> list[Any]:
    return [chunk async for chunk in client.stream(BODY)]


# As it should be


async def test_a_document_is_fetched_and_a_trailing_slash_of_the_url_is_harmless() -> None:
    service = Service({"status": "ok"})
    async with service.reached() as client:
        assert await client.get("/readyz") == {"status": "ok"}
    assert service.asked == [("GET", "/readyz", None)]


async def test_the_model_is_the_first_that_is_listed() -> None:
    async with Service({"data": [{"id": "one"}, {"id": "two"}]}).reached() as client:
        assert await client.model() == "one"


async def test_a_text_that_lies_elsewhere_is_fetched() -> None:
    metrics = Service(b"coordsvc_nodes 2.0\n")
    async with Service().reached() as client, metrics.reached() as other:
        assert await client.text(f"{other._url}/metrics") == "coordsvc_nodes 2.0\n"


async def test_a_whole_reply() -> None:
    service = Service({"choices": []})
    async with service.reached() as client:
        assert await client.reply(BODY) == {"choices": []}
    assert service.asked == [("POST", "/v1/chat/completions", BODY)]


async def test_a_stream_is_its_chunks_and_nothing_else() -> None:
    body = b": a comment\n\n" + sse({"n": 1}, {"n": "all \u00fc well"}, "[DONE]")
    service = Service(body)
    async with service.reached() as client:
        assert await chunks(client) == [{"n": 1}, {"n": "all \u00fc well"}]
    assert service.asked == [("POST", "/v1/chat/completions", {**BODY, "stream": True})]
    assert "stream" not in BODY


# As it should not be


async def test_an_error_is_told_with_its_status() -> None:
    async with Service(ERROR, 429).reached() as client:
        with pytest.raises(ServiceError, match=r"^429: come back later$"):
            await client.reply(BODY)
        with pytest.raises(ServiceError, match=r"^429: come back later$"):
            await chunks(client)


async def test_an_error_in_the_middle_of_a_stream_comes_after_what_was_said() -> None:
    async with Service(sse({"n": 1}, ERROR)).reached() as client:
        stream = client.stream(BODY)
        assert await anext(stream) == {"n": 1}
        with pytest.raises(ServiceError, match=r"^come back later$"):
            await anext(stream)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"upstream connect error", 502),
        (b"", 503),
        (b"<html>It works!</html>", 200),
        (b"\xff\xfe", 500),
        ({"detail": "Not Found"}, 404),
        ({"error": "no object"}, 500),
        ({"error": {}}, 500),
        ([], 500),
    ],
)
async def test_what_another_server_says_is_told_with_its_status(body: object, status: int) -> None:
    """A proxy in between, or something else altogether on that port."""
    async with Service(body, status).reached() as client:
        with pytest.raises(ServiceError, match=f"^{status}: "):
            await client.get("/readyz")
        if status >= 400:
            with pytest.raises(ServiceError, match=f"^{status}: "):
                await chunks(client)


@pytest.mark.parametrize("listed", [{}, {"data": []}, {"data": [{}]}, [], 3, {"data": None}])
async def test_a_server_that_lists_no_model_is_none_of_ours(listed: object) -> None:
    async with Service(listed).reached() as client:
        with pytest.raises(ServiceError, match="lists no model"):
            await client.model()


async def test_nobody_there_is_told_with_the_url() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    async with connected(url) as client:
        for call in (client.get("/readyz"), client.reply(BODY), client.text(f"{url}/metrics")):
            with pytest.raises(ServiceError, match=f"^{url}[^ ]* cannot be reached: "):
                await call


async def test_a_connection_that_breaks_is_told_after_what_was_said() -> None:
    async with Service(sse({"n": 1}), cut=True).reached() as client:
        stream = client.stream(BODY)
        assert await anext(stream) == {"n": 1}
        with pytest.raises(ServiceError, match="cannot be reached"):
            await anext(stream)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "", "ftp://x", "localhost"])
async def test_a_url_that_is_none_is_refused_with_one_that_would_be(url: str) -> None:
    with pytest.raises(BadRequest, match=r"http://127\.0\.0\.1:8000 would be"):
        async with connected(url):
            pass
