"""What every node of the pool does, shown on one that counts: grants, and what is warm there."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import OfferId
from coordsvc.serving.guarded import CACHED_MAX, CachedPrefixes, GuardedNode
from tests.fakes import FIRST, N1, FakePool, grant
from tests.jumping import LoopClock, settle

LAST = 3


class Counter(GuardedNode):
    """Counts to three; the third is the last, and what comes after it costs nothing."""

    closed = 0

    def is_last(self, item: Any) -> bool:
        return item == LAST

    def count(self, under: Grant) -> AsyncGenerator[Any]:
        return self._granted(self._counting(), under, warms="counting", who="a counter")

    async def _counting(self) -> AsyncGenerator[int]:
        try:
            for n in range(1, LAST + 2):
                await asyncio.sleep(0.1)
                yield n
        finally:
            self.closed += 1


async def counter() -> Counter:
    one = Counter(N1, Resources(cpu_milli=1_000), FakePool(), LoopClock())
    assert await one.fence(FIRST, OfferId(0)) == ()
    return one


async def test_a_grant_ends_with_the_last_of_its_work_and_not_before() -> None:
    one = await counter()
    async with aclosing(one.count(grant(1))) as numbers:
        running = [(n, len(await one.fence(FIRST, OfferId(0)) or ())) async for n in numbers]
    assert running == [(1, 1), (2, 1), (3, 0), (4, 0)]
    word = await one.watch(FIRST, 0)
    assert (word.cached, word.running, word.waiting) == ({"counting"}, frozenset(), 0)


async def test_work_that_is_refused_is_not_begun() -> None:
    one = await counter()
    assert [n async for n in one.count(grant(1, use=1))][-1] == LAST + 1
    assert [n async for n in one.count(grant(1, use=1))] == [Refusal.REPEATED]
    assert one.closed == 1


async def test_preempted_work_is_closed_and_warms_nothing() -> None:
    one = await counter()
    heard: list[Any] = []

    async def hear() -> None:
        heard.extend([n async for n in one.count(grant(1))])

    hearing = asyncio.create_task(hear())
    await settle()
    await one.preempt(OfferId(1))
    await hearing
    assert heard == [Refusal.PREEMPTED]
    assert one.closed == 1
    assert (await one.watch(FIRST, 0)).cached is None


def test_the_names_of_conversations_are_news_once() -> None:
    cached = CachedPrefixes()
    assert cached.news() is None
    cached.used("a")
    cached.used("")
    assert cached.news() == {"a"}
    assert cached.news() is None
    cached.used("a")
    assert cached.news() is None
    cached.used("b")
    assert cached.news() == {"a", "b"}


def test_the_conversation_longest_unused_is_forgotten() -> None:
    cached = CachedPrefixes()
    for n in range(CACHED_MAX):
        cached.used(str(n))
    cached.used("0")
    cached.used("new")
    names = cached.news()
    assert names is not None
    assert len(names) == CACHED_MAX
    assert "0" in names
    assert "1" not in names
