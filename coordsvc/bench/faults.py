"""`coordsvc bench faults`: turns on scripted engines while processes are killed under them.

Replies are scripted, so each is compared word for word: nothing may be lost, nothing told twice.
Then allocators take over engines that are full of work. None may break a reservation; those of a
second application, in which taking over does without the fence, must, or the count is blind.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from coordsvc.bench import script
from coordsvc.bench.deaths import summary
from coordsvc.bench.kill import Reaper, Service
from coordsvc.bench.machine import facts
from coordsvc.bench.turns import Crowd, Question
from coordsvc.serving.app import ENGINE as ENGINE_DEPLOYMENT
from coordsvc.serving.local import LocalService, Ports

APP, FULL_APP, PLANTED_APP = "faults", "full", "planted"
BUILDERS = {
    APP: "coordsvc.serving.app:build",
    FULL_APP: "coordsvc.serving.app:build",
    PLANTED_APP: "coordsvc.bench.planted:unfenced",
}
AGENTS = ("Planner", "Responder", "Checker")
CLIENTS, FULL_CLIENTS = 6, 12
PLACES, FULL_PLACES = 16, 4
"""Phases that an engine runs at once: plenty; and few, so that it is full when it is taken over."""
PAUSE_S = 0.03
CPUS = 8
"""What Serve is told that there is, so that all replicas are placed; nothing is pinned to cores."""
WARM_S = 2.0
QUIET_S = 5.0
"""After the load, before leaks are looked for: engines tell the allocator every second."""
FULL_PIECE_MS = 300.0
"""A phase then takes 3.6 s, longer than a takeover: what ran before it still runs after it."""
TAKEOVERS = 2
FULL_DEADLINE_S = 15.0


def measure(
    turns: int, rounds: int, now: datetime, say: Callable[[str], None]
) -> dict[str, object]:
    """Return what deaths did to `turns` turns or more; each kind dies once a round."""
    service = LocalService(Ports(http=None, metrics=0), cpus=CPUS)
    try:
        service.start(say)
        door = service.deploy(_config(), say)[APP].direct_url
        told, broken = asyncio.run(_deaths(door, turns, rounds, say))
        door = service.deploy(_full_config(FULL_APP), say)[FULL_APP].direct_url
        broken += asyncio.run(_takeovers(FULL_APP, door, say))
        door = service.deploy(_full_config(PLANTED_APP), say)[PLANTED_APP].direct_url
        planted = asyncio.run(_takeovers(PLANTED_APP, door, say))
    finally:
        service.stop()
    counts = {"broken_reservations": broken, "planted_broken_reservations": planted}
    return {**told, **counts, "machine": facts(now)}


def _config() -> dict[str, Any]:
    """Return the application under test: two replicas of all that dies but the allocator."""
    planner = {"tokens_max": script.PLAN_TOKENS}
    args = {**_engine(PLACES, script.PIECE_MS), "agents": {"planner": planner}}
    replicas = [{"name": name, "num_replicas": 2} for name in (ENGINE_DEPLOYMENT, *AGENTS)]
    return _application(APP, args, replicas)


def _full_config(app: str) -> dict[str, Any]:
    """Return an application whose phases are all long, and so its engine always full."""
    args = {**_engine(FULL_PLACES, FULL_PIECE_MS), "agents": {"checker": None}}
    return _application(app, args, [])


def _engine(places: int, piece_ms: float) -> dict[str, Any]:
    bundles = {"cpu": places, "bandwidth_gbps": places}
    return {"engine": script.engine(places, piece_ms), "node": {"capacity": bundles}}


def _application(name: str, args: dict[str, Any], replicas: list[dict[str, Any]]) -> dict[str, Any]:
    application = {"name": name, "route_prefix": "/", "import_path": BUILDERS[name]}
    return {"applications": [{**application, "args": args, "deployments": replicas}]}


async def _deaths(
    door: str, turns: int, rounds: int, say: Callable[[str], None]
) -> tuple[dict[str, object], int]:
    """Return what deaths of all kinds did to turns, and how many reservations they broke."""
    service = Service(APP)
    crowd = Crowd(door, script.question, PAUSE_S)
    load = asyncio.create_task(crowd.keep_asking(CLIENTS))
    reaper = Reaper(service, crowd, say)
    await asyncio.sleep(WARM_S)
    for _ in range(rounds):
        await reaper.round()
    crowd.stop(after=turns)
    await load
    await asyncio.sleep(QUIET_S)
    status = await service.allocator()
    assert status is not None, "nobody has killed it for a while"
    journals = await service.journals()
    told = {**summary(reaper.deaths, crowd.turns), **_left(status, journals)}
    return told, _broken(journals)


def _left(status: dict[str, Any], journals: list[dict[str, Any]]) -> dict[str, object]:
    """Return what engines, allocator and desks still hold when all is quiet; and their counts."""
    left = {
        "grants_running": sum(journal["running"] for journal in journals),
        "in_engines": sum(journal["in_engine"] for journal in journals),
        "offers_accepted": status["offers_by_state"].get("accepted", 0),
        "phases_waiting": sum(desk["waiting"] for desk in status["desks"].values()),
    }
    refused: dict[str, int] = {}
    for journal in journals:
        for reason, count in journal["refused"].items():
            refused[reason] = refused.get(reason, 0) + count
    return {
        "refused": refused,
        "leaked": sum(left.values()),
        "left": left,
        "epochs": status["epoch"],
    }


async def _takeovers(app: str, door: str, say: Callable[[str], None]) -> int:
    """Return the reservations that takeovers broke on an engine full of work."""
    service = Service(app)
    crowd = Crowd(door, _impatient, PAUSE_S)
    load = asyncio.create_task(crowd.keep_asking(FULL_CLIENTS))
    await asyncio.sleep(WARM_S)
    reaper = Reaper(service, crowd, say)
    for _ in range(TAKEOVERS):
        await reaper.allocator()
    crowd.stop()
    await load
    return _broken(await service.journals())


def _broken(journals: list[dict[str, Any]]) -> int:
    return sum(journal["broken_reservations"] for journal in journals)


def _impatient(turn: int) -> Question:
    """Return a streamed question that does not wait for ever for a pool that was wrecked."""
    asked = script.question(turn, streams_only=True)
    extension = {**asked.body["coordsvc"], "deadline_s": FULL_DEADLINE_S}
    return Question(body={**asked.body, "coordsvc": extension}, expected=asked.expected)
