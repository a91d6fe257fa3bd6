"""A service on a Ray of its own with accelerators in its books, and load that fills it.

Ray, Serve, offers, allocator and HTTP are real; an engine computes by a declared profile. What a
study says of such a run is counted from the turns' own accounts and from when clients sent and
heard: nothing is taken from the figures that the service shows of itself.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from coordsvc.bench.load import OK, SECOND_NS, Answered, closed_loop, percentile
from coordsvc.core.accounting import PART_MEANS
from coordsvc.core.errors import CoordinationError
from coordsvc.experiments.study import Row, Say
from coordsvc.serving.local import LocalService, Ports

APP = "study"
CPUS = 8
"""What Serve is told that the machine has, so that ingress and agents are placed."""
BLOCKS = 8
"""Parts of a run's time that are counted apart: what intervals within a run are drawn from."""
WORDS = ("river", "stone", "lamp", "garden", "window", "paper", "bridge", "cloud", "engine", "bell")


@contextmanager
def served(
    args: Mapping[str, Any],
    gpus: int,
    say: Say,
    *,
    replicas: int | None = None,
    scaled_by: str | None = None,
) -> Iterator[str]:
    """Yield where a service with these settings listens; each engine has a placement group.

    `replicas`: engines; None leaves the number to `scaled_by`, the import path of a policy.
    """
    engine: dict[str, Any] = {
        "name": "Engine",
        "placement_group_bundles": [{"GPU": 1}],
        "ray_actor_options": {"num_gpus": 1, "num_cpus": 0},
    }
    application: dict[str, Any] = {
        "name": APP,
        "route_prefix": "/",
        "import_path": "coordsvc.serving.app:build",
        "args": dict(args),
        "deployments": [engine if replicas is None else {**engine, "num_replicas": replicas}],
    }
    if scaled_by is not None:
        application["autoscaling_policy"] = {"policy_function": scaled_by}
    service = LocalService(Ports(http=None, metrics=0), CPUS, gpus)
    try:
        service.start(say)
        (running,) = service.deploy({"applications": [application]}, say).values()
        yield running.direct_url
    finally:
        service.stop()


def emulated(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the engine's settings from a study's declared profile.

    Its numbers are an accelerator's own; `time_scale` says how many times slower it is emulated, so
    that what this machine adds is as small against a phase as a large machine's would be.
    """
    return {
        "kind": "emulated",
        "start_us": told["start_us"],
        "prefill_us_per_token": told["prefill_us_per_token"],
        "decode_base_us": told["decode_base_us"],
        "decode_us_per_sequence": told["decode_us_per_sequence"],
        "batch_max": told["places"],
        "reply_tokens": 4_096,  # a request's own limit decides
        "speed": 1 / told["time_scale"],
    }


def prompts(count: int, seed: int, tokens: tuple[int, int]) -> list[tuple[str, int]]:
    """Return questions and the tokens that their replies may have, drawn from the seed."""
    chance = np.random.default_rng([seed, count])
    drawn = []
    for number in range(count):
        words = " ".join(chance.choice(WORDS, size=int(chance.integers(8, 40))))
        drawn.append((f"({seed}.{number}) {words}?", int(chance.integers(*tokens, endpoint=True))))
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answered turn."""

    sent_s: float
    ended_s: float
    account: Mapping[str, Any]

    @property
    def latency_s(self) -> float:
        """Return how long its client waited."""
        return self.ended_s - self.sent_s


@dataclass(slots=True)
class Load:
    """What came of a closed loop: the time in which all clients were busy, and who was answered."""

    turns: list[Seen] = field(default_factory=list)
    begins_s: float = 0.0
    """When each client had had its first answer."""
    ends_s: float = 0.0
    """When the last prompt was sent."""
    lost: int = 0

    def ended(self, begins_s: float, ends_s: float) -> list[Seen]:
        """Return the turns that ended within a time."""
        return [turn for turn in self.turns if begins_s <= turn.ended_s < ends_s]

    def blocks(self) -> Iterator[tuple[float, float, list[Seen]]]:
        """Yield equal parts of the busy time: its begin, how long it is, and who ended in it."""
        each = (self.ends_s - self.begins_s) / BLOCKS
        for n in range(BLOCKS):
            begins = self.begins_s + n * each
            yield begins, each, self.ended(begins, begins + each)


async def saturate(
    url: str, asked: Sequence[tuple[str, int]], clients: int, clock_ns: Callable[[], int]
) -> Load:
    """Ask all questions, `clients` at a time; raise `CoordinationError` if too few are answered."""
    sent: dict[int, float] = {}

    def body(number: int) -> dict[str, Any]:
        sent[number] = clock_ns() / SECOND_NS
        question, tokens = asked[number]
        return {
            "model": "emulated-8b",
            "messages": [{"role": "user", "content": question}],
            "max_tokens": tokens,
            "coordsvc": {"account": True},
        }

    loop = await closed_loop(url, body, clients, len(asked))
    load = Load(
        turns=sorted(
            (_seen(one, sent) for one in loop.answers if one.status == OK),
            key=lambda turn: turn.ended_s,
        ),
        lost=sum(one.status != OK for one in loop.answers),
    )
    if len(load.turns) <= 2 * clients:
        raise CoordinationError(
            f"{len(load.turns)} of {len(asked)} prompts were answered: too few for {clients} "
            "clients; see the service's log"
        )
    load.begins_s = load.turns[clients - 1].ended_s
    load.ends_s = max(sent.values())
    return load


def figures(
    load: Load, gpus: int, share: Mapping[str, float], about: Mapping[str, Any]
) -> list[Row]:
    """Return a row for each block of the busy time: the article's measures, and latencies.

    Computing counts in the block in which it was done, so that no block has more than there are
    accelerators. Latencies and C_coord are those of turns that ended in it; None where none did.
    `share`: the part of an accelerator that a phase of each agent takes.
    """
    rows: list[Row] = []
    computed = [(turn, list(_computing(turn))) for turn in load.turns]
    for number, (begins_s, lasts_s, turns) in enumerate(load.blocks()):
        accounts = [turn.account for turn in turns]
        n = len(turns)
        worth = baseline_s = 0.0
        works_s = dict.fromkeys(share, 0.0)
        for turn, phases in computed:
            inside = [
                (phase, _overlap(began, ended, begins_s, begins_s + lasts_s))
                for phase, began, ended in phases
            ]
            for phase, lasted in inside:
                works_s[phase["agent"]] += lasted * share[phase["agent"]]
            baseline_s += sum(
                phase["solo_s"] * lasted / phase["compute_s"] for phase, lasted in inside
            )
            all_s = sum(phase["compute_s"] for phase in turn.account["phases"])
            worth += sum(lasted for _, lasted in inside) / all_s if all_s else 0.0
        work_s = sum(works_s.values())
        latencies = [turn.latency_s for turn in turns]
        rows.append(
            {
                **about,
                "block": number,
                "seconds": lasts_s,
                "turns": n,
                "turns_per_s": worth / lasts_s,
                "s_measured": baseline_s / lasts_s,
                "s_ideal": baseline_s * gpus / work_s if work_s else None,
                "of_ideal": work_s / (lasts_s * gpus),
                **{f"{agent}_part": done / (lasts_s * gpus) for agent, done in works_s.items()},
                "p50_s": percentile(latencies, 0.5) if n else None,
                "p95_s": percentile(latencies, 0.95) if n else None,
                "c_coord_s": _mean([account["c_coord_s"] for account in accounts]),
                **{
                    f"{part}_s": _mean([account["parts_s"][part] for account in accounts])
                    for part in PART_MEANS
                },
            }
        )
    return rows


def _computing(turn: Seen) -> Iterator[tuple[Mapping[str, Any], float, float]]:
    """Yield a turn's phases with when their engines began and ended to compute.

    Accounts tell durations, and phases follow each other: what no agent spent is taken as equal
    gaps around them, and what a call took beside its engine as equal ways there and back.
    """
    phases = turn.account["phases"]
    spent_s = sum(phase["agent_s"] for phase in phases)
    gap_s = max(0.0, turn.latency_s - spent_s) / (len(phases) + 1)
    at_s = turn.sent_s
    for phase in phases:
        at_s += gap_s + phase["agent_s"]
        way_s = max(0.0, phase["engine_call_s"] - phase["queue_s"] - phase["compute_s"]) / 2
        if phase["compute_s"] > 0:
            yield phase, at_s - way_s - phase["compute_s"], at_s - way_s


def _overlap(began: float, ended: float, begins: float, ends: float) -> float:
    return max(0.0, min(ended, ends) - max(began, begins))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _seen(one: Answered, sent: Mapping[int, float]) -> Seen:
    began = sent[one.number]
    return Seen(
        sent_s=began, ended_s=began + one.latency_s, account=one.body["coordsvc"]["account"]
    )


def asked_of(
    url: str, asked: Sequence[tuple[str, int]], clients: int, clock_ns: Callable[[], int]
) -> Load:
    """Return what `saturate` returns, from where nothing is awaited."""
    return asyncio.run(saturate(url, asked, clients, clock_ns))
