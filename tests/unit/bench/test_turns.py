import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coordsvc.bench.turns import Crowd, Question, Told

WORDS = ("one ", "two ", "three")
RIGHT = "".join(WORDS)


def question(turn, *, stream=False):
    return Question(body={"turn": turn, "stream": stream}, expected=RIGHT)


def event(value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(text, **more):
    return event({"choices": [{"delta": {"content": text}}], **more})


class Service:
    """A door that streams as told, piece by piece, or answers at once."""

    def __init__(self, events=(), body=None, status=200):
        self.events, self.body, self.status = events, body, status
        self.asked = []

    async def answer(self, request):
        self.asked.append(await request.json())
        if self.body is not None:
            return web.json_response(self.body, status=self.status)
        response = web.StreamResponse()
        await response.prepare(request)
        for one in self.events:
            await response.write(one)
            await asyncio.sleep(0.01)
        return response


async def crowd_of(service, ask, clients=1, turns=1):
    app = web.Application()
    app.router.add_post("/v1/chat/completions", service.answer)
    async with TestServer(app) as server:
        crowd = Crowd(str(server.make_url("")).rstrip("/"), ask, pause_s=0.0)
        crowd.stop(after=turns)
        await crowd.keep_asking(clients)
    return crowd


async def test_a_stream_is_right_when_its_pieces_make_the_reply_and_it_is_ended() -> None:
    pieces = [*map(chunk, WORDS), chunk("", coordsvc={"turn_id": "t"}), b"data: [DONE]\n\n"]
    crowd = await crowd_of(Service(pieces), lambda turn: question(turn, stream=True))
    (told,) = crowd.turns
    assert told.right
    assert len(told.pieces_s) == len(WORDS)
    assert told.midway((told.pieces_s[0] + told.pieces_s[-1]) / 2)
    assert not told.midway(told.pieces_s[-1] + 1)
    assert told.extra == {"turn_id": "t"}
    assert told.latency_s > 0
    assert crowd.midway() == 0


async def test_a_stream_that_breaks_off_is_wrong_though_its_text_is_whole() -> None:
    crowd = await crowd_of(Service([*map(chunk, WORDS)]), lambda turn: question(turn, stream=True))
    (told,) = crowd.turns
    assert told.text == RIGHT
    assert told.fault == "the stream broke off"
    assert not told.right


async def test_an_error_within_a_stream_is_wrong() -> None:
    events = [chunk("one "), event({"error": {"message": "lost"}}), b"data: [DONE]\n\n"]
    crowd = await crowd_of(Service(events), lambda turn: question(turn, stream=True))
    assert crowd.turns[0].fault == "lost"


async def test_a_whole_reply_is_compared_and_an_error_is_told() -> None:
    body = {"choices": [{"message": {"content": RIGHT}}], "coordsvc": {"account": {}}}
    crowd = await crowd_of(Service(body=body), question)
    assert crowd.turns[0].right
    refusal = Service(body={"error": {"message": "busy"}}, status=429)
    crowd = await crowd_of(refusal, question)
    assert (crowd.turns[0].status, crowd.turns[0].fault) == (429, "busy")


async def test_a_crowd_asks_until_it_is_told_to_stop_and_no_question_twice() -> None:
    body = {"choices": [{"message": {"content": RIGHT}}]}
    service = Service(body=body)
    crowd = await crowd_of(service, question, clients=3, turns=20)
    assert len(crowd.turns) in range(20, 23), "who was asking already finishes"
    assert sorted(asked["turn"] for asked in service.asked) == list(range(len(crowd.turns)))


async def test_a_door_that_is_gone_is_a_fault_and_no_exception() -> None:
    crowd = Crowd("http://127.0.0.1:1", question, pause_s=0.0)
    crowd.stop(after=1)
    await crowd.keep_asking(1)
    assert crowd.turns[0].fault
    assert crowd.turns[0].status is None


@pytest.mark.parametrize(
    ("account", "lost"),
    [
        ({}, False),
        ({"phases": [{"attempts": 1}], "parts_s": {"retry": 0.0}}, False),
        ({"phases": [{"attempts": 1}, {"attempts": 2}], "parts_s": {"retry": 0.0}}, True),
        ({"phases": [{"attempts": 1}], "parts_s": {"retry": 0.1}}, True),
    ],
)
def test_a_lost_attempt_shows_in_the_account(account, lost) -> None:
    told = Told(question=question(0), asked_s=0.0, extra={"account": account})
    assert told.attempts_lost is lost
