"""Two agents train on a real Ray, under grants: what is seen of it, and what survives."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.util import placement_group_table

from coordsvc.core.dialogue import PLANNER, RESPONDER
from coordsvc.core.errors import EngineBroken
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.core.units import AgentId
from coordsvc.ports import Trainee
from coordsvc.serving.actors import stop_actors
from coordsvc.serving.ray_pool import find, instruments_name
from coordsvc.serving.training_app import APP, TrainingPool, compose, train
from coordsvc.settings.metrics import MetricsSettings
from coordsvc.telemetry.decision_log import DecisionLogTerms
from tests.integration.apps import Services

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]
STEPS = 30
BOTH = {PLANNER: 0, RESPONDER: 0}


def counting(folder: Path, step_s: float, dies_at: int = 0) -> Callable[[AgentId], Trainee]:
    """Training that counts into a file; once, the planner's takes its whole process with it."""

    # all inside, so that it travels to the nodes by value: they cannot import the tests
    class Counting:
        def __init__(self, agent: AgentId) -> None:
            self._checkpoint = folder / f"{agent}.txt"

        def train(self, stretch: Stretch, stop: Callable[[], bool]) -> Stretched:
            done = int(self._checkpoint.read_text()) if self._checkpoint.exists() else 0
            assert done == stretch.begin, "it goes on from what the last one wrote"
            step, began = done, time.monotonic()
            while step < min(STEPS, stretch.begin + stretch.steps) and not stop():
                time.sleep(step_s)
                step += 1
                mark = folder / "died"
                if step == dies_at and stretch.agent == "planner" and not mark.exists():
                    mark.touch()
                    os._exit(1)
            self._checkpoint.write_text(str(step))
            return Stretched(
                agent=stretch.agent,
                step=step,
                steps=STEPS,
                done=step >= STEPS,
                loss=1.0,
                held_out=None,
                compute_us=round((time.monotonic() - began) * 1e6),
            )

    return Counting


@pytest.fixture
def pool(services: Services, tmp_path: Path) -> Iterator[TrainingPool]:
    del services  # its Ray
    log = DecisionLogTerms(folder=tmp_path / "log", file_bytes_max=1 << 20, files_max=4)
    yield TrainingPool(
        nodes=2,
        on_gpu=False,
        stretch_steps=10,
        metrics=MetricsSettings(port=0),
        decision_log=log,
    )
    serve.delete(APP)
    stop_actors(APP)


def started(pool: TrainingPool, load: Callable[[AgentId], Trainee]) -> DeploymentHandle[Any]:
    return serve.run(compose(pool, load), name=APP, route_prefix=None)


async def trained(pool: TrainingPool, nodes: DeploymentHandle[Any]) -> dict[str, list[int]]:
    steps: dict[str, list[int]] = {agent: [] for agent in BOTH}
    async with aclosing(train(pool, nodes, BOTH)) as told:
        async for stretched in told:
            steps[stretched.agent].append(stretched.step)
    return steps


async def allocated(port: int) -> dict[str, float]:
    """What each agent holds now, as Prometheus would read it."""
    url = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    return {
        sample.labels["agent"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "coordsvc_alloc" and sample.labels["resource"] == "cpu"
    }


async def test_what_training_holds_is_in_the_same_metrics_and_the_same_log(
    pool: TrainingPool, tmp_path: Path
) -> None:
    nodes = await asyncio.to_thread(started, pool, counting(tmp_path, step_s=0.1))
    groups = [one["name"] for one in placement_group_table().values() if f"::{APP}#" in one["name"]]
    assert len(groups) == 2, "each node has a placement group of its own"
    port = await asyncio.to_thread(ray.get, find(instruments_name(APP)).port.remote())

    training = asyncio.create_task(trained(pool, nodes))
    both = {"planner": 1.0, "responder": 1.0}
    seen: list[dict[str, float]] = []
    while not training.done():
        seen.append(await allocated(port))
        await asyncio.sleep(0.1)
    assert await training == {"planner": [10, 20, 30], "responder": [10, 20, 30]}
    assert both in seen, f"alloc_i of both was never one accelerator: {seen}"

    events = [
        json.loads(line)
        for file in sorted((tmp_path / "log").iterdir())
        for line in file.read_text().splitlines()
    ]
    text = json.dumps(events)
    assert '"planner"' in text
    assert '"responder"' in text


async def test_a_node_that_dies_costs_a_stretch_and_the_rest_goes_on(
    pool: TrainingPool, tmp_path: Path
) -> None:
    load = counting(tmp_path, step_s=0.02, dies_at=15)
    nodes = await asyncio.to_thread(started, pool, load)
    assert await trained(pool, nodes) == {"planner": [10, 20, 30], "responder": [10, 20, 30]}
    assert (tmp_path / "died").exists()


async def test_what_cannot_be_loaded_is_told_and_nothing_hangs(pool: TrainingPool) -> None:
    def load(agent: AgentId) -> Trainee:
        raise EngineBroken(f"{agent}'s base is not there")

    nodes = await asyncio.to_thread(started, pool, load)
    with pytest.raises(EngineBroken, match="base is not there"):
        await trained(pool, nodes)
