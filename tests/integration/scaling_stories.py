"""Stories of replicas that come and go, on a simulated cluster of their own: a process apart.

Run by test_autoscaling.py; prints one JSON object.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import aiohttp
import ray
from prometheus_client.parser import text_string_to_metric_families
from ray.serve._private.common import DeploymentID
from ray.serve.context import _get_global_client

from coordsvc.bench.nodes import SimulatedNodes
from coordsvc.bench.turns import Crowd, Question
from coordsvc.serving.app import ENGINE
from coordsvc.serving.local import Ports, Running
from coordsvc.serving.ray_pool import allocator_name, find
from coordsvc.settings.scaling import POLICY

PLACES = 2
WORDS = 200
WORD_US = 25_000
"""A long reply takes 5 s."""
PATIENCE_S = 60


def config(app: str, *, words: int, drain_s: float, **more: Any) -> dict[str, Any]:
    demand = {"gpu": 1 / PLACES, "bandwidth_gbps": 1}
    engine = {
        "kind": "emulated",
        "start_us": 0,
        "prefill_us_per_token": 0,
        "decode_base_us": WORD_US,
        "decode_us_per_sequence": 0,
        "batch_max": PLACES,
        "reply_tokens": words,
    }
    args = {
        "engine": engine,
        "node": {"capacity": {"gpu": 1, "bandwidth_gbps": PLACES}, "drain_s": drain_s},
        "agents": {
            "planner": {"demand": demand, "tokens_max": 1},
            "responder": {"demand": demand},
            "checker": None,
        },
        "metrics": {"port": 0},
    }
    scaling = more.pop("scaling", None)
    return {
        "name": app,
        "route_prefix": f"/{app}",
        "import_path": "coordsvc.serving.app:build",
        "args": args if scaling is None else {**args, "scaling": scaling},
        "deployments": [
            {
                "name": ENGINE,
                "placement_group_bundles": [{"GPU": 1}],
                "ray_actor_options": {"num_gpus": 1, "num_cpus": 0},
                **more.pop("engine", {}),
            }
        ],
        **more,
    }


def asks(words: int, *, streamed: bool = True) -> Callable[[int], Question]:
    filler = ["This", "reply", "was", "made", "up", "by", "an", "emulated", "engine."]
    reply = ["[emulated]", *(filler[n % len(filler)] for n in range(words - 1))]

    def question(turn: int) -> Question:
        body = {
            "model": "emulated-8b",
            "stream": streamed,
            "max_tokens": words,
            "messages": [{"role": "user", "content": f"Tell me of number {turn}."}],
            "coordsvc": {"mode": "stream_then_check"},
        }
        return Question(body=body, expected=" ".join(reply))

    return question


async def page(url: str) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        families = list(text_string_to_metric_families(await answer.text()))
    return {" ".join([s.name, *s.labels.values()]): s.value for f in families for s in f.samples}


async def until(what: str, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.1)


async def status(app: str) -> dict[str, Any]:
    told: dict[str, Any] = await find(allocator_name(app)).status.remote()
    return told


async def pending(service: SimulatedNodes, app: Running) -> dict[str, Any]:
    """Two engines are wanted, and there is room for one; then a node comes."""
    crowd = Crowd(app.direct_url, asks(20), 0.01)
    load = asyncio.create_task(crowd.keep_asking(6))
    waits = "coordsvc_placement_groups pending"

    async def shown(name: str, wanted: float) -> dict[str, float] | None:
        told = await page(app.metrics_url)
        return told if told.get(name) == wanted else None

    try:
        before = await until("no group is pending", lambda: shown(waits, 1))
    except AssertionError:
        told = await page(app.metrics_url)
        _say(json.dumps({**_of(told), **{n: v for n, v in told.items() if "scaling" in n}}))
        _say(str([one.fault for one in crowd.turns][-5:]))
        raise
    held = "coordsvc_scaling_decisions_total hold starting"
    before = await until(
        "the policy does not wait for it", lambda: shown("coordsvc_scaling_wanted", 2)
    )
    await until("it does not say so", lambda: _counted(app, held))
    service.add_node()  # holds up the clients for a second: Ray wants the main thread for it
    after = await until("the node is not used", lambda: shown("coordsvc_replicas Engine", 2))
    after = await until("the group still waits", lambda: shown(waits, 0))
    crowd.stop()
    await load
    return {
        "before": _of(before),
        "after": _of(after),
        "lost": [one.fault or one.text[:80] for one in crowd.turns if not one.right],
        "turns": len(crowd.turns),
    }


async def _counted(app: Running, name: str) -> bool:
    return (await page(app.metrics_url)).get(name, 0) > 0


def _of(told: dict[str, float]) -> dict[str, float]:
    names = ("coordsvc_placement_groups", "coordsvc_replicas Engine", "coordsvc_scaling_bound")
    return {name: value for name, value in told.items() if name.startswith(names)}


async def stopped(app: Running, drain_s: float) -> dict[str, Any]:
    """Serve stops one of two engines while long replies are under way on both."""
    await until("two engines are not there", lambda: _nodes(app.app, 2))
    crowd = Crowd(app.direct_url, asks(WORDS), 0.0)
    crowd.stop(after=2 * PLACES)
    load = asyncio.create_task(crowd.keep_asking(2 * PLACES))
    await until("no reply is under way", lambda: crowd.midway() == 2 * PLACES)
    await asyncio.sleep(0.5)
    client: Any = _get_global_client()
    engine = DeploymentID(name=ENGINE, app_name=app.app)
    began = time.monotonic()
    await client._controller.update_deployment_replicas.remote(engine, 1)
    draining = await until("nothing drains", lambda: _draining(app.app))
    told_s = time.monotonic() - began
    await load
    await until("its placement group is still there", lambda: _groups(app.app) == 1)
    after = await status(app.app)
    return {
        "draining": len(draining),
        "told_s": told_s,
        "drain_s": drain_s,
        "nodes": len(after["nodes"]),
        "preempted": after["preempted"],
        "broken_reservations": after["broken_reservations"],
        "lost": [one.fault or one.text[-80:] for one in crowd.turns if not one.right],
        "moved": sum(1 for one in crowd.turns if one.attempts_lost),
        "latencies_s": [round(one.latency_s, 2) for one in crowd.turns],
    }


async def _nodes(app: str, count: int) -> bool:
    return len((await status(app))["nodes"]) == count


async def _draining(app: str) -> list[str]:
    return list((await status(app))["draining"])


def _groups(app: str) -> int:
    groups = ray.util.placement_group_table().values()
    return sum(1 for one in groups if f"::{app}#" in one["name"] and one["state"] == "CREATED")


SCALING = {
    "replicas_min": 1,
    "replicas_max": 2,
    "c_coord_s": 0.2,
    "window_s": 4.0,
    "sustain_out_s": 1.0,
    "cool_out_s": 0.0,
    "report_s": 0.5,
    "stale_s": 5.0,
}


def tell() -> dict[str, Any]:
    service = SimulatedNodes(Ports(http=None, metrics=None), cpus=12, nodes=5)
    two = {"engine": {"num_replicas": 2}, "external_scaler_enabled": True}
    patient, hasty = 20.0, 1.0
    wanted = [
        config("patient", words=WORDS, drain_s=patient, **two),
        config("hasty", words=WORDS, drain_s=hasty, **two),
        config(
            "grows",
            words=20,
            drain_s=5.0,
            scaling=SCALING,
            autoscaling_policy={"policy_function": POLICY},
        ),
    ]
    try:
        service.start(_say)
        running = service.deploy({"applications": wanted}, _say)
        return {
            "grows": asyncio.run(pending(service, running["grows"])),
            "patient": asyncio.run(stopped(running["patient"], patient)),
            "hasty": asyncio.run(stopped(running["hasty"], hasty)),
        }
    finally:
        service.stop()


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        told = tell()
    sys.stdout.write(json.dumps(told))
