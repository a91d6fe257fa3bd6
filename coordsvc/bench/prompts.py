"""Many prompts through a service, each a dialogue that ends in a question: what it said, how fast.

The figures are the service's own account of each turn, joined with what the clients saw. Replies
are kept, so that two services, or one before and after training, can be read side by side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from coordsvc.bench.load import Answered, Loop, closed_loop, percentile
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import Message

OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the prompts are sent."""

    model: str
    """As the service names it."""
    clients: int
    """Prompts under way at once."""
    tokens_max: int
    """Of each reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of one prompt."""

    prompt: int
    """Its number."""
    text: str
    finish: str
    output_tokens: int
    """Of all phases."""
    latency_s: float
    c_coord_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What came of all prompts."""

    replies: tuple[Reply, ...]
    """Of those that were answered, by their numbers."""
    figures: dict[str, object]


async def send(
    url: str, prompts: Sequence[Sequence[Message]], plan: Plan, say: Callable[[int], None]
) -> Served:
    """Send all prompts, as fast as the clients get answers; `say` hears of each that is sent.

    Raises `BadRequest` if there is no prompt, or if no prompt was answered.
    """
    if not prompts:
        raise BadRequest("there is no prompt to send: prepare more dialogues, or hold out more")

    def body(number: int) -> dict[str, Any]:
        say(number)
        return {
            "model": plan.model,
            "messages": [{"role": one.speaker, "content": one.text} for one in prompts[number]],
            "max_tokens": plan.tokens_max,
            "temperature": 0,
            "coordsvc": {"account": True},
        }

    seen = await closed_loop(url, body, plan.clients, len(prompts))
    answered = [one for one in seen.answers if one.status == OK]
    if not answered:
        raise BadRequest(f"none of {len(prompts)} prompts was answered: {_fault(seen.answers[0])}")
    return Served(
        replies=tuple(sorted(map(_reply, answered), key=lambda reply: reply.prompt)),
        figures=figures(seen, answered, plan),
    )


def figures(seen: Loop, answered: Sequence[Answered], plan: Plan) -> dict[str, object]:
    """Return throughput, latency and the mean account of a turn, all in seconds."""
    accounts = [one.body["coordsvc"]["account"] for one in answered]
    latencies = [one.latency_s for one in answered]
    coordination = [account["c_coord_s"] for account in accounts]
    parts = {
        part: round(sum(account["parts_s"][part] for account in accounts) / len(accounts), 6)
        for part in accounts[0]["parts_s"]
    }
    return {
        "prompts": len(seen.answers),
        "answered": len(answered),
        "clients": plan.clients,
        "elapsed_s": round(seen.elapsed_s, 3),
        "turns_per_second": round(len(answered) / seen.elapsed_s, 4),
        "output_tokens_per_second": round(
            sum(account["output_tokens"] for account in accounts) / seen.elapsed_s, 3
        ),
        "p50_s": round(percentile(latencies, 0.5), 4),
        "p95_s": round(percentile(latencies, 0.95), 4),
        "c_coord_mean_s": round(sum(coordination) / len(coordination), 4),
        "c_coord_p95_s": round(percentile(coordination, 0.95), 4),
        "c_coord_parts_s": parts,
        "emulated": any(one.body["coordsvc"]["emulated"] for one in answered),
    }


def _reply(one: Answered) -> Reply:
    choice, ours = one.body["choices"][0], one.body["coordsvc"]
    return Reply(
        prompt=one.number,
        text=choice["message"]["content"],
        finish=choice["finish_reason"],
        output_tokens=ours["account"]["output_tokens"],
        latency_s=one.latency_s,
        c_coord_s=ours["account"]["c_coord_s"],
    )


def _fault(one: Answered) -> str:
    return f"{one.status}: {one.body['error']['message']}"
