"""A request's body, read under limits before anything looks into it."""

import asyncio
from collections.abc import Iterable

from starlette.types import Receive

from coordsvc.serving.http.errors import CLOSE, ClientGone, Problem, Rejection
from coordsvc.settings.http import HttpSettings

RawHeaders = Iterable[tuple[bytes, bytes]]


async def read_body(headers: RawHeaders, receive: Receive, settings: HttpSettings) -> bytes:
    """Return the whole body, or refuse it: wrong type (415), too large (413), too slow (408).

    The limit holds for what arrives; a `Content-Length` can only get a body refused sooner. The
    connection stays open after 413 and 415, and the server discards the rest of the body: closing
    on unread bytes resets the connection, and the client would never see the answer.
    """
    _check_headers(headers, settings.body_bytes_max)
    try:
        async with asyncio.timeout(settings.body_s):
            return await _receive_all(receive, settings.body_bytes_max)
    except TimeoutError:
        message = f"the body did not arrive within {settings.body_s} s"
        problem = Problem(status=408, message=message, code="body_timeout", headers=CLOSE)
        raise Rejection(problem) from None


async def _receive_all(receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("hung up before its body was in")
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _check_headers(headers: RawHeaders, limit: int) -> None:
    content_type = b""
    for name, value in headers:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length" and value.isdigit() and _number(value) > limit:
            raise _too_large(limit)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise _unsupported("send the body without Content-Encoding")
    media_type, _, parameters = content_type.partition(b";")
    if media_type.strip().lower() != b"application/json":
        raise _unsupported("send JSON, with 'Content-Type: application/json'")
    charset = parameters.strip().lower().replace(b'"', b"")
    if charset.startswith(b"charset=") and charset not in (b"charset=utf-8", b"charset=utf8"):
        raise _unsupported("send JSON in UTF-8, which is its only encoding")


def _number(digits: bytes) -> int:
    return int(digits[:20])  # 20 digits exceed any limit; thousands would be slow to convert


def _too_large(limit: int) -> Rejection:
    message = f"the body is too large: at most {limit} bytes are read"
    return Rejection(Problem(status=413, message=message, code="body_too_large"))


def _unsupported(message: str) -> Rejection:
    code = "unsupported_media_type"
    return Rejection(Problem(status=415, message=message, code=code))
