"""`coordsvc bench autoscale`: placement groups follow C_coord, and no turn is lost on the way.

A simulated Ray of several nodes with an accelerator each, in its books; emulated engines; clients
in a closed loop over HTTP. The load rises until one engine is far too little; engines are added
until C_coord is back below the threshold under that same load; the load falls, and an engine is
taken away while phases run; the load ends, and the pool shrinks to its floor.

Windows and cool-downs are seconds here, so that it takes minutes; the service's defaults are a
minute or more. What the clients see is what counts: each turn's own account, and its every word.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ray import serve

from coordsvc.bench.autoscale_figures import C_COORD_S, Moment, figures, mean_c_coord_s
from coordsvc.bench.machine import facts
from coordsvc.bench.nodes import SimulatedNodes
from coordsvc.bench.turns import OK, Crowd, Question, clock_s
from coordsvc.core.errors import EngineBroken
from coordsvc.serving.app import ENGINE
from coordsvc.serving.local import Ports
from coordsvc.settings.scaling import POLICY

APP = "autoscale"
CPUS = 8
"""What Serve is told that the head has, so that ingress and agents are placed."""
PLACES = 4
"""Phases that an engine runs at once."""
STEP_US = 25_000
PLAN_WORDS, REPLY_WORDS = 12, 24
"""A turn computes for 1.1 s on an engine of its own; a check's verdict has few words."""
PAUSE_S = 0.05
MIX = 2
"""Every second reply is streamed."""
LOOK_S = 0.5
WINDOW_S = 6.0
"""Over which the clients' own mean of C_coord is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is asked, of how many nodes."""

    nodes: int = 3
    clients: int = 10
    few: int = 2
    """Clients that go on when the load falls."""
    calm_s: float = 10.0
    settle_s: float = 15.0
    """How long the pool must keep its size, and C_coord be below, before the load falls."""
    patience_s: float = 120.0
    """For each thing that is waited for."""


def measure(plan: Plan, now: datetime, say: Callable[[str], None]) -> dict[str, object]:
    """Return what autoscaling did with a load that rises, falls and ends."""
    service = SimulatedNodes(Ports(http=None, metrics=0), CPUS, plan.nodes)
    try:
        service.start(say)
        door = service.deploy(config(plan.nodes), say)[APP].direct_url
        told = asyncio.run(_Run(plan, door, say).all())
    finally:
        service.stop()
    return {**told, "scaling": scaling(plan.nodes), "machine": facts(now)}


def scaling(most: int) -> dict[str, Any]:
    """Return the terms of the bench: seconds where a service has minutes."""
    return {
        "replicas_min": 1,
        "replicas_max": most,
        "window_s": 8.0,
        "sustain_out_s": 4.0,
        "sustain_in_s": 10.0,
        "cool_out_s": 8.0,
        "cool_in_s": 10.0,
        "report_s": 1.0,
        "stale_s": 6.0,
    }


def config(most: int) -> dict[str, Any]:
    """Return the application: an engine of few places on an accelerator of its own."""
    args = {
        "engine": {
            "kind": "emulated",
            "start_us": 0,
            "prefill_us_per_token": 0,
            "decode_base_us": STEP_US,
            "decode_us_per_sequence": 0,
            "batch_max": PLACES,
            "reply_tokens": REPLY_WORDS,
        },
        "node": {"capacity": {"gpu": 1, "bandwidth_gbps": PLACES}},
        "agents": {
            "planner": {"demand": _demand(), "tokens_max": PLAN_WORDS},
            "responder": {"demand": _demand()},
            "checker": {"demand": _demand()},
        },
        "scaling": scaling(most),
    }
    engine = {
        "name": ENGINE,
        "placement_group_bundles": [{"GPU": 1}],
        "ray_actor_options": {"num_gpus": 1, "num_cpus": 0},
    }
    application = {
        "name": APP,
        "route_prefix": "/",
        "import_path": "coordsvc.serving.app:build",
        "args": args,
        "autoscaling_policy": {"policy_function": POLICY},
        "deployments": [engine],
    }
    return {"applications": [application]}


def _demand() -> dict[str, float]:
    return {"gpu": 1 / PLACES, "bandwidth_gbps": 1}


def replicas() -> int:
    """Return the engine replicas that Serve calls running."""
    states = serve.status().applications[APP].deployments[ENGINE].replica_states
    return sum(count for state, count in states.items() if state == "RUNNING")


class _Run:
    """One rise and fall of the load."""

    def __init__(self, plan: Plan, door: str, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._door = door
        self._say = say
        self._reference = ""
        self._crowds: list[Crowd] = []
        self._moments: list[Moment] = []
        self._began = clock_s()
        self._watching: asyncio.Task[None] | None = None

    async def all(self) -> dict[str, object]:
        """Return the figures."""
        await self._learn_reply()
        self._began = clock_s()
        self._watching = asyncio.create_task(self._watch())
        few, few_load = self._load(self._plan.few)
        await asyncio.sleep(self._plan.calm_s)
        self._say("the load rises")
        risen = self._now()
        many, many_load = self._load(self._plan.clients - self._plan.few)
        await self._until("engines are added, and C_coord is back below", self._settled)
        self._say("the load falls")
        fallen = self._now()
        many.stop()
        await many_load
        await self._until("an engine goes under the load that is left", self._is_smaller)
        self._say("the load ends")
        few.stop()
        await few_load
        await self._until("the pool is at its floor", lambda: replicas_at(self._moments) == 1)
        self._watching.cancel()
        turns = [told for crowd in self._crowds for told in crowd.turns]
        return figures(self._moments, turns, risen=risen, fallen=fallen, began=self._began)

    async def _learn_reply(self) -> None:
        """Ask once: every later reply must be this one, word for word."""
        crowd = Crowd(self._door, self._question, PAUSE_S)
        crowd.stop(after=1)
        await crowd.keep_asking(1)
        if crowd.turns[0].status != OK:
            raise EngineBroken(f"the first turn failed: {crowd.turns[0].fault}")
        self._reference = crowd.turns[0].text

    def _question(self, turn: int) -> Question:
        streamed = turn % MIX == 1
        body = {
            "model": "emulated-8b",
            "stream": streamed,
            "max_tokens": REPLY_WORDS,
            "messages": [{"role": "user", "content": f"Tell me of number {turn}."}],
            "coordsvc": {"mode": "stream_then_check" if streamed else "check_then_send"},
        }
        return Question(body=body, expected=self._reference)

    def _load(self, clients: int) -> tuple[Crowd, "asyncio.Task[None]"]:
        crowd = Crowd(self._door, self._question, PAUSE_S)
        self._crowds.append(crowd)
        return crowd, asyncio.create_task(crowd.keep_asking(clients))

    def _now(self) -> float:
        return clock_s() - self._began

    async def _watch(self) -> None:
        while True:
            there = await asyncio.to_thread(replicas)
            now = clock_s()
            turns = (told for crowd in self._crowds for told in crowd.turns)
            mean = mean_c_coord_s(turns, now - WINDOW_S, now)
            self._moments.append(Moment(self._now(), there, mean))
            await asyncio.sleep(LOOK_S)

    async def _until(self, what: str, is_so: Callable[[], bool]) -> None:
        began = self._now()
        while not (self._moments and is_so()):
            assert self._watching is not None
            if self._watching.done():
                self._watching.result()
            if self._now() - began > self._plan.patience_s:
                last = self._moments[-5:]
                raise EngineBroken(f"not within {self._plan.patience_s:.0f} s: {what}; {last}")
            await asyncio.sleep(LOOK_S)
        self._say(f"  {what}: {self._now() - began:.0f} s")

    def _settled(self) -> bool:
        """Tell whether the pool has grown, keeps its size, and C_coord stays below."""
        late = [one for one in self._moments if one.t_s > self._now() - self._plan.settle_s]
        return all(
            one.replicas == late[0].replicas > 1
            and one.c_coord_s is not None
            and one.c_coord_s < C_COORD_S
            for one in late
        )

    def _is_smaller(self) -> bool:
        return replicas_at(self._moments) < max(one.replicas for one in self._moments)


def replicas_at(moments: list[Moment]) -> int:
    """Return how many there are now."""
    return moments[-1].replicas
