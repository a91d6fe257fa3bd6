"""Telling a turn to its client: at once, or piece by piece as server-sent events."""

from coordsvc.serving.http.errors import JSON_TYPE, Headers
from coordsvc.serving.http.feed import Feed
from coordsvc.serving.http.middleware import Exchange
from coordsvc.serving.http.replies import Voice, as_json

SSE_HEADERS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies must not collect the pieces
)


async def tell_whole(feed: Feed, exchange: Exchange, voice: Voice) -> None:
    """Send the reply as one JSON object, once the turn has its result."""
    while feed.result is None:
        await feed.take()
    body = voice.completion(feed.result)
    length = (b"content-length", str(len(body)).encode())
    await exchange.wire.start(200, (JSON_TYPE, length))
    await exchange.wire.write(body, more=False)


async def tell_pieces(feed: Feed, exchange: Exchange, voice: Voice) -> None:
    """Send the reply's pieces as they come; a client that lags gets them joined.

    Nothing is sent before the turn's first word, so that a turn refused until then still gets
    its proper status.
    """
    wire = exchange.wire
    before, after = voice.frame()
    text = await feed.take()
    exchange.streaming = True
    await wire.start(200, SSE_HEADERS)
    due = voice.opening()
    told = 0
    while feed.result is None:
        await wire.write(due + before + as_json(text) + after, more=True)
        due = b""
        told += len(text)
        text = await feed.take()
    text += feed.result.text[told + len(text) :]
    if text:
        due += before + as_json(text) + after
    await wire.write(due + voice.closing(feed.result), more=False)
