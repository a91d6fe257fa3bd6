"""An engine for each adapter behind one port: who is asked, who waits, who is told."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from coordsvc.core.errors import BadRequest, EngineBroken, Overloaded
from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.engines.adapters import Adapter
from coordsvc.engines.by_agent import ByAgentEngine
from coordsvc.engines.scripted import ScriptedEngine
from coordsvc.engines.settings import OpenVinoSettings, ScriptedSettings, ScriptRule
from coordsvc.ports import Engine
from tests.unit.engines.adapter_files import write


class House:
    """Engines that say whose they are."""

    def __init__(self, folder: Path, *, delay_ms: float = 0, **settings: int) -> None:
        self.made: dict[str, Engine] = {}
        self.delay_ms = delay_ms
        model = folder / "base.gguf"
        model.write_bytes(b"GGUF")
        adapters = {agent: str(write(folder / agent)) for agent in ("planner", "checker")}
        told = {"model": str(model), "adapters": adapters} | settings
        self.engine = ByAgentEngine(OpenVinoSettings(**told), make=self.make)

    def make(self, settings: OpenVinoSettings, adapter: Adapter | None) -> Engine:
        assert settings.adapters == {}
        name = adapter.agent if adapter else "base"
        rule = ScriptRule(reply=f"This is {name}.", chunks=3, delay_ms=self.delay_ms)
        self.made[name] = ScriptedEngine(ScriptedSettings(default=rule, model=name))
        return self.made[name]

    async def ask(self, adapter: str = ""):
        request = GenerationRequest(
            messages=(Message("user", "hello"),), max_new_tokens=9, adapter=adapter
        )
        async with aclosing(self.engine.generate(request)) as chunks:
            told = [chunk async for chunk in chunks]
        return "".join(chunk.text for chunk in told), told[-1].report


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the engines set no event
        await asyncio.sleep(0)


async def test_each_request_goes_to_the_engine_of_its_adapter(tmp_path):
    house = House(tmp_path)
    info = await house.engine.start()
    assert (info.model, info.attributes["adapters"]) == ("base", "checker,planner")
    for adapter, name in (("planner", "planner"), ("", "base"), ("checker", "checker")):
        assert (await house.ask(adapter))[0] == f"This is {name}."
    with pytest.raises(BadRequest, match="no adapter for 'responder'; there are: checker, planner"):
        await house.ask("responder")
    assert house.engine.running() == 0
    await house.engine.stop()


async def test_all_share_the_batch_s_places_and_the_wait_for_one_is_queue(tmp_path):
    house = House(tmp_path, delay_ms=5, batch_max=1)
    await house.engine.start()
    first = asyncio.create_task(house.ask("planner"))
    second = asyncio.create_task(house.ask("checker"))
    await until(lambda: house.engine.running() == 2)
    assert [house.made[name].running() for name in ("planner", "checker")] == [1, 0]
    (_, alone), (_, after) = await first, await second
    assert after.queue_us > alone.queue_us
    assert after.queue_us >= alone.compute_us // 2
    await house.engine.stop()


async def test_beyond_the_queue_requests_are_refused(tmp_path):
    house = House(tmp_path, delay_ms=5, batch_max=1, waiting_max=0)
    await house.engine.start()
    first = asyncio.create_task(house.ask("planner"))
    await until(lambda: house.engine.running() == 1)
    with pytest.raises(Overloaded):
        await house.ask("checker")
    await first
    await house.engine.stop()


async def test_who_leaves_gives_the_place_back(tmp_path):
    house = House(tmp_path, delay_ms=10_000, batch_max=1)
    await house.engine.start()
    first = asyncio.create_task(house.ask("planner"))
    second = asyncio.create_task(house.ask("checker"))
    await until(lambda: house.engine.running() == 2)
    for task in (second, first):
        task.cancel()
    await asyncio.wait([first, second])
    assert [house.engine.running(), house.made["planner"].running()] == [0, 0]
    await house.engine.stop()


async def test_one_that_breaks_breaks_the_node(tmp_path):
    house = House(tmp_path)
    await house.engine.start()
    house.engine.check()
    await house.made["checker"].stop()
    with pytest.raises(EngineBroken):
        house.engine.check()
    with pytest.raises(EngineBroken):
        await house.ask("planner")
    await house.engine.stop()


async def test_a_bad_adapter_is_found_before_any_engine_is_made(tmp_path):
    house = House(tmp_path)
    (tmp_path / "checker" / "adapter_config.json").unlink()
    with pytest.raises(EngineBroken, match=r"engine.adapters.checker .* has no adapter_config"):
        await house.engine.start()
    assert house.made == {}


async def test_a_start_that_fails_stops_those_before(tmp_path):
    house = House(tmp_path)

    def failing(settings: OpenVinoSettings, adapter: Adapter | None) -> Engine:
        if adapter and adapter.agent == "planner":
            raise EngineBroken("no memory")
        return house.make(settings, adapter)

    house.engine = ByAgentEngine(house.engine._settings, make=failing)
    with pytest.raises(EngineBroken, match="no memory"):
        await house.engine.start()
    assert set(house.made) == {"base", "checker"}
    for engine in house.made.values():
        with pytest.raises(EngineBroken):
            engine.check()


async def test_stopping_tells_those_who_wait_and_twice_does_no_harm(tmp_path):
    house = House(tmp_path, delay_ms=10_000, batch_max=1)
    with pytest.raises(EngineBroken, match="not been started"):
        await house.ask()
    await house.engine.start()
    tasks = [asyncio.create_task(house.ask(adapter)) for adapter in ("planner", "checker")]
    await until(lambda: house.engine.running() == 2)
    await house.engine.stop()
    await house.engine.stop()
    tasks[0].cancel()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(told[1], EngineBroken)
    with pytest.raises(EngineBroken, match="stopped"):
        house.engine.check()
