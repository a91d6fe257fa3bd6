"""What an engine is asked for, and what it answers: the words shared by agents and engines."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Literal

from coordsvc.core.units import Micros

Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. Its text is text: control tokens in it mean nothing."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 is greedy; `seed` makes a sampled reply repeatable."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One phase's work for an engine."""

    messages: tuple[Message, ...]
    max_new_tokens: int
    sampling: Sampling = Sampling()
    json_schema: str | None = None
    """If given, the whole output is one JSON value that this schema (as JSON text) admits."""
    prefix: str = ""
    """The beginning of the reply, already made by an engine that died; the answer goes on from it.
    `max_new_tokens` counts its tokens too, and it is not sent again."""
    shared_messages: int = 0
    """How many leading messages every agent of this turn begins with."""
    warm_tokens: int = 0
    """The longest prefix of this prompt known to be cached on any node, in tokens."""
    headroom_tokens: int = 0
    """Tokens beyond this request that the turn will need; refused now rather than half way."""
    prefix_key: str = ""
    """Names the conversation that the prompt begins with, wherever it is cached."""
    adapter: str = ""
    """The agent whose adapter is to speak; none lets the base speak."""


def prefix_key(conversation: Sequence[Message]) -> str:
    """Return a name for what all turns of a conversation begin with: up to its first question."""
    digest = blake2b(digest_size=8)
    for message in conversation:
        digest.update(f"{message.speaker}\0{message.text}\0".encode())
        if message.speaker == "user":
            break
    return digest.hexdigest()


def under_adapter(prefix: str, adapter: str) -> str:
    """Return the name of a prefix as computed under an adapter: of no use to any other."""
    return f"{prefix}@{adapter}" if adapter else prefix


def going_on(request: GenerationRequest, prefix_tokens: int) -> GenerationRequest:
    """Return the request with what its prefix leaves of `max_new_tokens`; at least one."""
    if not request.prefix:
        return request
    return replace(request, max_new_tokens=max(1, request.max_new_tokens - prefix_tokens))


class FinishReason(StrEnum):
    """Why the engine stopped, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationReport:
    """What one request cost, told by the engine that ran it.

    `total_us` = `queue_us` + `compute_us`, from the request's arrival to its last token.
    `solo_us` <= `compute_us`: the calibrated time of these tokens alone on this engine, given the
    best prefix cached on any node. `refill_us`: prefix recomputed because this node lacked it.
    `compute_us` - `solo_us` - `refill_us` is contention: the price of sharing the accelerator.
    """

    finish: FinishReason
    prompt_tokens: int
    cached_tokens: int
    shared_tokens: int
    """Tokens of the leading `shared_messages`."""
    output_tokens: int
    queue_us: Micros
    compute_us: Micros
    solo_us: Micros
    refill_us: Micros
    emulated: bool = False
    """True when the timing was declared, and the text made up: never shown as a real reply."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the reply; the last one carries the report (and perhaps the last text)."""

    text: str
    report: GenerationReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoloProfile:
    """The calibrated cost of a request that has the engine for itself.

    prefill: `prefill_us` a token of uncached prompt; decode: `decode_us` an output token;
    `start_us` once a request. Linear, fitted by least squares at the engine's start.
    """

    start_us: float
    prefill_us: float
    decode_us: float

    def predict(self, uncached_tokens: int, output_tokens: int) -> Micros:
        """Return the solo time of a request; never negative."""
        cost = self.start_us + self.prefill_us * uncached_tokens + self.decode_us * output_tokens
        return Micros(max(0, round(cost)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """An engine's compute time, cut into what it had to cost and what sharing added."""

    solo_us: Micros
    refill_us: Micros


def split_compute(
    profile: SoloProfile,
    *,
    compute_us: Micros,
    prompt_tokens: int,
    cached_tokens: int,
    warm_tokens: int,
    output_tokens: int,
) -> Split:
    """Cut `compute_us` so that solo + refill + contention is exactly it, none negative.

    `cached_tokens` of the prompt were cached here, `warm_tokens` on the best node of all.
    """
    best_cached = min(max(cached_tokens, warm_tokens), prompt_tokens)
    solo = min(compute_us, profile.predict(prompt_tokens - best_cached, output_tokens))
    here = min(compute_us, profile.predict(prompt_tokens - cached_tokens, output_tokens))
    return Split(solo_us=solo, refill_us=Micros(max(0, here - solo)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine tells of itself when it is ready."""

    kind: str
    model: str
    context_tokens: int
    batch_max: int
    """Requests that it computes at the same time; more wait in its queue."""
    profile: SoloProfile
    emulated: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
