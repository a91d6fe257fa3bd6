"""Places in a batch: first come, first served, and none is lost."""

import asyncio

import pytest

from coordsvc.core.errors import EngineBroken, Overloaded
from coordsvc.engines.places import Places


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_waiters_enter_in_order_of_arrival():
    places = Places(batch_max=1, waiting_max=10)
    assert places.take_now()
    entered: list[str] = []

    async def visit(name):
        await places.wait()
        entered.append(name)

    tasks = [asyncio.create_task(visit(name)) for name in "ab"]
    await settle()
    assert places.inside == 3
    assert entered == []
    places.give_back()
    await settle()
    assert entered == ["a"]
    assert not places.take_now(), "a newcomer does not overtake"
    places.give_back()
    await asyncio.gather(*tasks)
    places.give_back()
    assert places.inside == 0
    assert places.take_now()


async def test_one_who_leaves_the_queue_takes_nothing_with_him():
    places = Places(batch_max=1, waiting_max=10)
    assert places.take_now()
    waits = asyncio.create_task(places.wait())
    await settle()
    waits.cancel()
    await settle()
    assert places.inside == 1
    places.give_back()
    assert places.take_now()


async def test_one_who_leaves_as_his_place_comes_passes_it_on():
    places = Places(batch_max=1, waiting_max=10)
    assert places.take_now()
    waits = asyncio.create_task(places.wait())
    await settle()
    places.give_back()  # his turn is set ...
    waits.cancel()  # ... and he leaves before he hears of it
    await settle()
    assert places.inside == 0
    assert places.take_now()


async def test_the_queue_has_an_end():
    places = Places(batch_max=1, waiting_max=0)
    assert places.take_now()
    with pytest.raises(Overloaded, match="0 requests wait"):
        await places.wait()
    assert places.inside == 1


async def test_all_who_wait_can_be_sent_away():
    places = Places(batch_max=1, waiting_max=5)
    assert places.take_now()
    waits = asyncio.create_task(places.wait())
    await settle()
    places.refuse_all(EngineBroken("over"))
    with pytest.raises(EngineBroken, match="over"):
        await waits
    places.give_back()
    assert places.inside == 0
