"""`coordsvc bench faults`: turns on scripted engines while processes are killed under them.

Replies are scripted, so each is compared word for word: nothing may be lost, nothing told twice.
Then allocators take over engines that are full of work. None may break a reservation; those of a
second application, in which taking over does without the fence, must, or the count is blind.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from coordsvc.bench import deaths, script
from coordsvc.bench.deaths import AGENT, ALLOCATOR, ENGINE, Death
from coordsvc.bench.kill import Reaper, Service
from coordsvc.bench.machine import facts
from coordsvc.bench.turns import Crowd, Question, Told
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
FAULTS_TOLD_MAX = 10
LONG_S = 0.02


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
    told = {**summary(crowd.turns, reaper.deaths), **_left(status, journals)}
    return told, _broken(journals)


def summary(turns: list[Told], ended: list[Death]) -> dict[str, object]:
    """Return what the deaths did to the turns."""
    wrong = [told for told in turns if not told.right]
    broken = deaths.broken_midway(ended, turns)
    return {
        "turns": len(turns),
        "lost": len(wrong),
        "killed": deaths.killed(ended),
        "killed_mid_stream": len(broken),
        "continued_from_prefix": sum(told.right for found in broken.values() for told in found),
        "broken_mid_stream": sum(len(found) for found in broken.values()),
        "allocator_recovery_s": round(deaths.recovery_s(ended, ALLOCATOR), 3),
        "agent_recovery_s": round(deaths.recovery_s(ended, AGENT), 3),
        "engine_recovery_s": round(deaths.recovery_s(ended, ENGINE), 3),
        **_slowest("slowest_turn", deaths.slowest(ended, turns, ALLOCATOR)),
        **_slowest("slowest_turn_agent", deaths.slowest(ended, turns, AGENT)),
        **_slowest("slowest_turn_engine", deaths.slowest(ended, turns, ENGINE)),
        "slowest_turn_undisturbed_s": round(deaths.undisturbed_s(ended, turns), 3),
        "wrong": [_shown(told) for told in wrong[:FAULTS_TOLD_MAX]],
    }


def _slowest(name: str, told: Told | None) -> dict[str, object]:
    """Return how long the turn took, and the parts of its account that were long."""
    if told is None:
        return {f"{name}_s": 0.0}
    parts = told.extra.get("account", {}).get("parts_s", {})
    return {
        f"{name}_s": round(told.latency_s, 3),
        f"{name}_parts_s": {part: round(s, 3) for part, s in parts.items() if s > LONG_S},
    }


def _shown(told: Told) -> dict[str, object]:
    return {
        "status": told.status,
        "fault": told.fault,
        "text": told.text,
        "expected": told.question.expected,
        "latency_s": round(told.latency_s, 3),
    }


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
