"""Samples to token ids, and which of them make a step. Pure.

Rules. A prompt is encoded as the service encodes it, so what was trained is what is served. The
loss counts the target's tokens and the end that closes it. Every sample is seen once an epoch, in
an order that seed and epoch decide alone: where training stands is known from its step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.engines.chat_text import ChatText
from coordsvc.training.recipe import Recipe

TARGET_TOKENS_MIN = 8
"""A prompt that leaves less room (and less than its whole target) teaches nothing."""


class Example(Protocol):
    """What this module needs of a sample: `coordsvc.training.prepared.Sample` is one."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """Return the prompt, as the service asks it."""
        ...

    @property
    def target(self) -> str:
        """Return the answer to learn."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sample as the model sees it: the prompt's ids, then the target's."""

    ids: tuple[int, ...]
    target_from: int
    """Where the target begins; the loss counts from here on."""

    @property
    def target_tokens(self) -> int:
        """Return how many ids the loss counts."""
        return len(self.ids) - self.target_from


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSamples:
    """All samples that fit, and what became of the others."""

    samples: tuple[Encoded, ...]
    cut: int
    """Of these, how many lost the end of their target."""
    too_long: int
    """Dropped: the prompt leaves no room for a target."""
    unspeakable: int
    """Dropped: their text cannot be told from control tokens of this model, or is empty."""


def encode(
    chat: ChatText, examples: Sequence[Example], *, end_id: int, tokens_max: int
) -> EncodedSamples:
    """Return the samples' ids in their order; those that do not fit are counted."""
    kept: list[Encoded] = []
    cut = too_long = unspeakable = 0
    for example in examples:
        try:
            request = GenerationRequest(messages=example.messages, max_new_tokens=1)
            prompt = chat.encode(request).ids
            target = [*chat.literal(example.target), end_id]
        except BadRequest:
            unspeakable += 1
            continue
        room = tokens_max - len(prompt)
        if len(target) == 1:
            unspeakable += 1
        elif room < min(TARGET_TOKENS_MIN, len(target)):
            too_long += 1
        else:
            cut += len(target) > room
            kept.append(Encoded((*prompt, *target[:room]), len(prompt)))
    return EncodedSamples(samples=tuple(kept), cut=cut, too_long=too_long, unspeakable=unspeakable)


def some(samples: Sequence[Encoded], most: int, seed: int) -> tuple[Encoded, ...]:
    """Return at most `most` of the samples, drawn by the seed, in their own order."""
    if len(samples) <= most:
        return tuple(samples)
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(samples))[:most]
    return tuple(samples[index] for index in sorted(drawn.tolist()))


def step_samples(samples: Sequence[Encoded], step: int, recipe: Recipe) -> list[list[Encoded]]:
    """Return the batches of step `step`, the first being 0.

    Those of like length go together: the sum of their gradients is the same, the padding is less.
    """
    each = recipe.steps_an_epoch(len(samples))
    epoch, place = divmod(step, each)
    chance = np.random.Generator(np.random.PCG64([recipe.seed, epoch]))
    order = chance.permutation(len(samples)).tolist()
    size = recipe.batch * recipe.accumulation
    taken = [samples[index] for index in order[place * size : (place + 1) * size]]
    return in_batches(taken, recipe.batch)


def in_batches(samples: Sequence[Encoded], batch: int) -> list[list[Encoded]]:
    """Return the samples cut into batches, the shortest first."""
    ranked = sorted(samples, key=lambda sample: len(sample.ids))
    return [ranked[start : start + batch] for start in range(0, len(ranked), batch)]
