"""A small client of the service's own HTTP door, streaming included."""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp

from coordsvc.core.errors import BadRequest, CoordinationError

DATA = b"data: "
DONE = b"[DONE]"
SHOWN_MAX = 200
"""Bytes of an answer that is none of ours that an error repeats."""
KEY = "COORDSVC_API_KEY"
"""The environment variable with the key of a service that asks for one."""


class ServiceError(CoordinationError):
    """The service answered with an error, or could not be reached."""


class Client:
    """Talks to one service."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._session = session
        word = os.environ.get(KEY)
        self._headers = {"Authorization": f"Bearer {word}"} if word else {}

    async def get(self, path: str) -> Any:
        """Return a JSON document."""
        async with (
            _reached(self._url),
            self._session.get(self._url + path, headers=self._headers) as answer,
        ):
            return await _document(answer)

    async def text(self, url: str) -> str:
        """Return a text that lies elsewhere, such as the metrics."""
        async with _reached(url), self._session.get(url) as answer:
            return await answer.text()

    async def model(self) -> str:
        """Return the id of the served model."""
        listed = await self.get("/v1/models")
        try:
            return str(listed["data"][0]["id"])
        except (LookupError, TypeError):
            raise ServiceError(f"{self._url} lists no model: is it coordsvc?") from None

    async def reply(self, body: dict[str, Any]) -> Any:
        """Return the whole answer to a chat request."""
        path = self._url + "/v1/chat/completions"
        async with (
            _reached(self._url),
            self._session.post(path, json=body, headers=self._headers) as answer,
        ):
            return await _document(answer)

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[Any]:
        """Yield the chunks of a streamed answer; raise `ServiceError` for one that is an error."""
        path = self._url + "/v1/chat/completions"
        wanted = {**body, "stream": True}
        async with (
            _reached(self._url),
            self._session.post(path, json=wanted, headers=self._headers) as answer,
        ):
            if answer.status >= HTTPStatus.BAD_REQUEST:
                await _document(answer)
            async for line in answer.content:
                if not line.startswith(DATA) or line[len(DATA) :].strip() == DONE:
                    continue
                chunk = _parsed(answer.status, line[len(DATA) :])
                if "error" in chunk:
                    raise ServiceError(_message(chunk))
                yield chunk


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Client]:
    """Yield a client; its connections are closed afterwards."""
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"--url {url!r} is not right: http://127.0.0.1:8000 would be")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Client(url, session)


@asynccontextmanager
async def _reached(url: str) -> AsyncGenerator[None]:
    try:
        yield
    except aiohttp.ClientError as error:
        raise ServiceError(f"{url} cannot be reached: {error}") from error


async def _document(answer: aiohttp.ClientResponse) -> Any:
    document = _parsed(answer.status, await answer.read())
    failed = answer.status >= HTTPStatus.BAD_REQUEST
    if failed or (isinstance(document, dict) and "error" in document):
        raise ServiceError(f"{answer.status}: {_message(document)}")
    return document


def _parsed(status: int, body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:  # no JSON, or not even UTF-8
        raise ServiceError(f"{status}: {body[:SHOWN_MAX]!r} is not what coordsvc says") from None


def _message(document: Any) -> str:
    """Return the message of an OpenAI error object; of anything else, its beginning."""
    match document:
        case {"error": {"message": str(message)}}:
            return message
        case _:
            return json.dumps(document)[:SHOWN_MAX]
