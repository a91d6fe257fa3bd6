"""A closed loop's figures, and that it sends each request once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.bench.load import Answered, Loop, closed_loop, percentile


@pytest.mark.parametrize(
    ("values", "rank", "found"),
    [
        ([], 0.95, 0.0),
        ([7.0], 0.0, 7.0),
        ([7.0], 1.0, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 1.0, 4.0),
        ([float(number) for number in range(100)], 0.95, 94.0),
    ],
)
def test_a_percentile_by_hand(values: list[float], rank: float, found: float) -> None:
    assert percentile(values, rank) == found


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_percentile_is_one_of_the_values_and_rises_with_its_rank(
    values: list[float], one: float, other: float
) -> None:
    low, high = (percentile(values, rank) for rank in sorted((one, other)))
    assert {low, high} <= set(values)
    assert low <= high
    assert sum(1 for value in values if value < high) <= max(one, other) * len(values)


def test_a_loop_s_rate_and_latencies() -> None:
    answers = [
        Answered(number=n, status=200, latency_s=spent, body=None)
        for n, spent in enumerate((0.2, 0.1, 0.3))
    ]
    loop = Loop(answers=answers, elapsed_s=1.5)
    assert loop.per_second == 2.0
    assert loop.latencies_s == [0.2, 0.1, 0.3]
    assert Loop().per_second == 0.0


@asynccontextmanager
async def service(asked: list[Any], inside: list[int]) -> AsyncGenerator[str]:
    """A door that answers with the request's own number, and counts who is inside."""
    now = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal now
        now += 1
        inside.append(now)
        body = await request.json()
        asked.append(body["n"])
        now -= 1
        status = 429 if body["n"] == 3 else 200
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_each_request_is_sent_once_and_every_answer_kept() -> None:
    asked: list[int] = []
    inside: list[int] = []
    async with service(asked, inside) as url:
        loop = await closed_loop(url, lambda number: {"n": number}, clients=3, turns=20)
    assert sorted(asked) == list(range(20))
    assert sorted(answer.body["n"] for answer in loop.answers) == list(range(20))
    assert [answer.body["n"] for answer in loop.answers if answer.status == 429] == [3]
    assert max(inside) <= 3
    assert loop.elapsed_s > 0
    assert all(0 < spent <= loop.elapsed_s for spent in loop.latencies_s)


async def test_more_clients_than_turns_do_no_harm() -> None:
    asked: list[int] = []
    async with service(asked, []) as url:
        loop = await closed_loop(url, lambda number: {"n": number}, clients=8, turns=2)
    assert sorted(asked) == [0, 1]
    assert len(loop.answers) == 2
