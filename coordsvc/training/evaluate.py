"""Base against adapter: what the training gained, on samples it has not seen.

* Held-out loss: mean over the target's tokens, in nats; perplexity is its exponential.
* Checker's balanced accuracy: mean of its recall of "accept" and of its recall of "revise", so
  that saying one of them always is 0.5. It is decided by likelihood: which of the two verdicts, up
  to the word that tells them apart, the model gives more. A base that writes no JSON at all has an
  answer then too; and an engine that holds replies to the schema makes that very choice.
* Replies side by side, greedy.

What the service replies to prompts is judged by `replies`, which is told the replies.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import exp, isfinite
from typing import Any

from coordsvc.agents.roles import read_verdict
from coordsvc.core.dialogue import CHECKER
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import GenerationRequest
from coordsvc.core.units import AgentId
from coordsvc.training.adapters import Adapter, require_base
from coordsvc.training.batches import Encoded, Example, encode, in_batches, some
from coordsvc.training.jobs import Data, Speech, speech
from coordsvc.training.learner import target_loss
from coordsvc.training.libraries import libraries
from coordsvc.training.origin import Origin, load, loading

VERDICTS = ("true", "false")
REPLY_TOKENS = 48
LOSS_EXPONENT_MAX = 700.0
"""Beyond it a perplexity is no float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How good a model is on an agent's held-out samples."""

    held_out: float
    perplexity: float
    balanced_accuracy: float | None
    """Of the checker; None for the others, and where one of the two verdicts never is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One prompt's replies."""

    asked: str
    """The prompt's last message."""
    target: str
    base: str
    adapter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Base against adapter."""

    agent: str
    samples: int
    dropped: int
    base: Figures
    adapter: Figures
    fell: float
    """By what share of itself the held-out loss fell."""
    beside: tuple[Beside, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFigures:
    """What can be said of replies without a model."""

    replies: int
    empty: int
    tokens_mean: float
    distinct_share: float
    """Different replies among all: a model that says one thing to everything has little of it."""
    verdicts_read: int | None
    """Of a checker: replies that are a verdict."""


def compare(
    adapter: Adapter, data: Data, base: Origin, *, most: int, beside: int = 3, batch: int = 8
) -> Comparison:
    """Compare base and adapter on at most `most` held-out samples, drawn by the recipe's seed.

    Raises `BadRequest` if the adapter is of another base, or no sample fits.
    """
    require_base(adapter, base)
    card = adapter.card
    agent = AgentId(card.agent)
    spoken = speech(base)
    limit = min(card.recipe.sequence_tokens_max, spoken.context_tokens)
    examples = data.samples(agent, "held_out")
    found = encode(spoken.chat, examples, end_id=spoken.end_id, tokens_max=limit)
    samples = some(found.samples, most, card.recipe.seed)
    if not samples:
        raise BadRequest(f"none of {len(examples)} held-out samples of {agent} fits {limit} tokens")
    with loading(adapter.folder):
        model = (
            libraries()
            .peft.PeftModel.from_pretrained(
                load(base.folder, dtype=card.recipe.dtype), str(adapter.folder)
            )
            .eval()
        )
    choices = _choices(spoken, examples[:most], limit) if agent == CHECKER else []
    with model.disable_adapter():
        before = _figures(model, samples, choices, batch)
    after = _figures(model, samples, choices, batch)
    return Comparison(
        agent=agent,
        samples=len(samples),
        dropped=found.too_long + found.unspeakable,
        base=before,
        adapter=after,
        fell=1 - after.held_out / before.held_out,
        beside=tuple(_beside(model, spoken, *one) for one in _that_fit(spoken, examples)[:beside]),
    )


def replies(agent: AgentId, texts: Sequence[str], tokens: Sequence[int]) -> ReplyFigures:
    """Return what can be said of a service's replies; `tokens` are their lengths."""
    if not texts or len(texts) != len(tokens):
        raise BadRequest(f"{len(texts)} replies and {len(tokens)} lengths: one each is right")
    read = sum(read_verdict(text).reason != read_verdict("").reason for text in texts)
    return ReplyFigures(
        replies=len(texts),
        empty=sum(not text.strip() for text in texts),
        tokens_mean=sum(tokens) / len(tokens),
        distinct_share=len(set(texts)) / len(texts),
        verdicts_read=read if agent == CHECKER else None,
    )


def balanced_accuracy(right: Sequence[bool], said: Sequence[bool]) -> float | None:
    """Return the mean of both recalls; None if one of the two answers never is right."""
    recalls = []
    for verdict in (True, False):
        of_these = [answer == verdict for wanted, answer in zip(right, said, strict=True)
                    if wanted == verdict]  # fmt: skip
        if not of_these:
            return None
        recalls.append(sum(of_these) / len(of_these))
    return sum(recalls) / len(recalls)


def perplexity(loss: float) -> float:
    """Return the exponential of a mean loss in nats."""
    return exp(min(loss, LOSS_EXPONENT_MAX)) if isfinite(loss) else loss


@dataclass(frozen=True, slots=True)
class _Choice:
    """One checker's sample: both verdicts, and which one is right."""

    accept: Encoded
    revise: Encoded
    right: bool


def verdict_heads(target: str) -> tuple[str, str, bool]:
    """Return a verdict's text up to the deciding word, with `true` and with `false`; the right one.

    Raises `BadRequest` if the target is no verdict.
    """
    try:
        right = json.loads(target)["accept"]
        start = target.index("true" if right else "false")
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"a checker's target is no verdict ({error!r}): {target[:60]}") from error
    head = target[:start]
    return head + VERDICTS[0], head + VERDICTS[1], bool(right)


def _choices(spoken: Speech, examples: Sequence[Example], limit: int) -> list[_Choice]:
    found = []
    for example in examples:
        accept, revise, right = verdict_heads(example.target)
        prompt = _prompt(spoken, example)
        if prompt is None or len(prompt) + len(spoken.chat.literal(revise)) > limit:
            continue
        both = [
            Encoded((*prompt, *spoken.chat.literal(text)), len(prompt)) for text in (accept, revise)
        ]
        found.append(_Choice(both[0], both[1], right))
    return found


def _figures(
    model: Any, samples: Sequence[Encoded], choices: Sequence[_Choice], batch: int
) -> Figures:
    torch = libraries().torch
    with torch.inference_mode():
        parts = [
            float(target_loss(torch, model, some_, model.device.type))
            for some_ in in_batches(samples, batch)
        ]
        said = [_accepts(model, one) for one in choices]
    loss = sum(parts) / sum(sample.target_tokens for sample in samples)
    right = [one.right for one in choices]
    return Figures(
        held_out=loss,
        perplexity=perplexity(loss),
        balanced_accuracy=balanced_accuracy(right, said) if choices else None,
    )


def _accepts(model: Any, choice: _Choice) -> bool:
    """Tell whether the model gives "accept" more; an even choice revises, which does less harm."""
    torch, device = libraries().torch, model.device.type
    accept = float(target_loss(torch, model, [choice.accept], device))
    return accept < float(target_loss(torch, model, [choice.revise], device))


def _that_fit(spoken: Speech, examples: Sequence[Example]) -> list[tuple[Example, list[int]]]:
    """Return the examples that leave room for a reply, each with its prompt's ids."""
    most = spoken.context_tokens - REPLY_TOKENS
    prompts = [(one, _prompt(spoken, one)) for one in examples]
    return [(one, prompt) for one, prompt in prompts if prompt and len(prompt) <= most]


def _prompt(spoken: Speech, example: Example) -> list[int] | None:
    """Return a prompt's ids; None for one that the service would refuse."""
    request = GenerationRequest(messages=example.messages, max_new_tokens=1)
    try:
        return spoken.chat.encode(request).ids
    except BadRequest:
        return None


def _beside(model: Any, spoken: Speech, example: Example, prompt: list[int]) -> Beside:
    texts = []
    for without in (True, False):
        with model.disable_adapter() if without else _as_it_is():
            texts.append(_greedy(model, spoken, prompt))
    return Beside(
        asked=example.messages[-1].text, target=example.target, base=texts[0], adapter=texts[1]
    )


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _greedy(model: Any, spoken: Speech, prompt: list[int]) -> str:
    torch = libraries().torch
    ids = torch.tensor([prompt], device=model.device)
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=REPLY_TOKENS,
            eos_token_id=spoken.end_id,
            pad_token_id=spoken.end_id,
        )
    return spoken.decode(made[0, len(prompt) :].tolist())
