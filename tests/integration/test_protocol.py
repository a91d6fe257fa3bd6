"""The rarer moves of the protocol on a real Ray: gangs, draining, preemption."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import openai
import pytest
import ray
from ray import serve

from coordsvc.clock import MonotonicClock
from coordsvc.core.desk import Desk
from coordsvc.core.dialogue import PLANNER, RESPONDER
from coordsvc.core.errors import DeadlinePassed, Overloaded
from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.core.messages import Member
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.terms import DeskTerms
from coordsvc.core.units import SECOND, DeskId, GangId, Instant
from coordsvc.serving.desk_link import LinkedDesk
from coordsvc.serving.engine_calls import ServeEngines
from coordsvc.serving.ray_pool import RayPool, allocator_name, find
from tests.integration.apps import STORY, Services

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

SLOT = Resources(cpu_milli=1_000, bandwidth_mbps=1_000)
CLOCK = MonotonicClock()


def allocator(app: str, method: str, *args: Any, **more: Any) -> Any:
    return ray.get(getattr(find(allocator_name(app)), method).remote(*args, **more), timeout=10)


def soon(seconds: float) -> Instant:
    return Instant(CLOCK.now() + round(seconds * SECOND))


@pytest.fixture
async def probe(services: Services) -> AsyncIterator[LinkedDesk]:
    """A desk of the test's own, that holds nothing ahead."""
    desk = Desk(DeskId("probe"), RESPONDER, SLOT, DeskTerms(ahead_min=0, ahead_max=0))
    linked = LinkedDesk(desk, RayPool(services.scripted.app), CLOCK)
    linked.start()
    yield linked
    linked.stop()


async def run(engines: ServeEngines, grant: Grant) -> str:
    request = GenerationRequest(messages=(Message("user", "Say so"),), max_new_tokens=8)
    async with aclosing(engines.run(request, grant, stream=False)) as chunks:
        return "".join([chunk.text async for chunk in chunks])


async def test_a_gang_is_granted_as_a_whole_and_all_of_it_runs(
    services: Services, probe: LinkedDesk
) -> None:
    app = services.scripted.app
    members = (
        Member(agent=PLANNER, bundle=SLOT, least=2, most=2),
        Member(agent=RESPONDER, bundle=SLOT),
    )
    grants = await probe.take_gang(GangId("trio"), members, soon(10))
    assert sorted(grant.agent for grant in grants) == [PLANNER, PLANNER, RESPONDER]
    engines = ServeEngines(serve.get_deployment_handle("Engine", app_name=app))
    texts = await asyncio.gather(*(run(engines, grant) for grant in grants))
    assert len(texts) == 3
    assert all(texts)
    for grant in grants:
        probe.finished(grant)
    deadline = time.monotonic() + 10
    while allocator(app, "status")["offers_by_state"].get("accepted"):
        assert time.monotonic() < deadline, "the gang's grants were never released"
        await asyncio.sleep(0.1)


async def test_a_gang_that_the_pool_could_never_hold_is_refused_with_the_reason(
    probe: LinkedDesk,
) -> None:
    crowd = (Member(agent=RESPONDER, bundle=SLOT, least=60, most=60),)
    with pytest.raises(Overloaded, match=r"needs .*; the"):
        await probe.take_gang(GangId("crowd"), crowd, soon(30))


async def test_a_gang_that_does_not_come_about_in_time_holds_nothing(
    services: Services, probe: LinkedDesk
) -> None:
    app = services.scripted.app
    (node,) = allocator(app, "status")["nodes"]
    assert allocator(app, "drain", node, 1.0, preempt=False) is None
    try:
        with pytest.raises(DeadlinePassed, match="gang late was not complete in time"):
            await probe.take_gang(
                GangId("late"), (Member(agent=RESPONDER, bundle=SLOT),), soon(0.5)
            )
    finally:
        assert allocator(app, "reopen", node) is None


async def test_a_preempted_phase_goes_on_from_the_words_already_sent(services: Services) -> None:
    app = services.scripted.app
    (node,) = allocator(app, "status")["nodes"]
    async with openai.AsyncOpenAI(
        base_url=f"{services.scripted.direct_url}/v1", api_key="unused", max_retries=0
    ) as client:
        stream = await client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": "Tell me a slow story"}],
            stream=True,
            extra_body={"coordsvc": {"mode": "stream_then_check"}},
        )
        text, preempted = "", False
        async for chunk in stream:
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
            if text.count("word") > 10 and not preempted:
                preempted = True
                assert allocator(app, "drain", node, 0.0, preempt=True) is None
                await asyncio.sleep(1.0)
                assert allocator(app, "status")["preempted"] >= 1
                assert allocator(app, "reopen", node) is None
    assert preempted
    assert text == STORY
