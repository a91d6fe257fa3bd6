"""Samples to ids and steps: what the loss counts, what is dropped, and in what order."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.engines.chat_text import ChatText
from coordsvc.training.batches import Encoded, encode, in_batches, some, step_samples
from coordsvc.training.recipe import Recipe

END = 2


class Letters:
    """A tokenizer of letters; `<s>` is control, and opens each message."""

    def encode(self, text):
        return [1] if text == "<s>" else [ord(letter) for letter in text if letter != "\n"]

    def render(self, messages):
        return "".join(f"<s>{one['content']}" for one in messages)


@dataclass(frozen=True)
class Sample:
    target: str
    messages: tuple[Message, ...] = (Message("user", "why?"),)


CHAT = ChatText(Letters(), ["<s>"], [1])
PROMPT = tuple(CHAT.encode(GenerationRequest(messages=Sample("").messages, max_new_tokens=1)).ids)


def fitted(*samples: Sample, most: int = 100):
    return encode(CHAT, samples, end_id=END, tokens_max=most)


def test_a_sample_is_the_prompt_as_served_then_the_target_and_its_end() -> None:
    (found,) = fitted(Sample("because")).samples
    assert found.ids == (*PROMPT, *map(ord, "because"), END)
    assert found.target_from == len(PROMPT)
    assert found.target_tokens == len("because") + 1


def test_a_long_target_is_cut_and_its_end_with_it() -> None:
    told = fitted(Sample("because it is so"), most=len(PROMPT) + 9)
    assert told.cut == 1
    assert told.samples[0].ids == (*PROMPT, *map(ord, "because i"))


def test_a_prompt_that_leaves_no_room_is_dropped_and_counted() -> None:
    told = fitted(Sample("because it is so"), Sample("yes"), most=len(PROMPT) + 7)
    assert (told.too_long, told.cut) == (1, 0)
    assert [one.target_tokens for one in told.samples] == [4]


def test_an_empty_target_and_an_empty_prompt_are_dropped_and_counted() -> None:
    told = fitted(Sample(""), Sample("yes", messages=()), Sample("yes"))
    assert told.unspeakable == 2
    assert len(told.samples) == 1


def test_control_tokens_in_a_target_stay_text() -> None:
    (found,) = fitted(Sample("say <s>")).samples
    assert 1 not in found.ids[found.target_from :]


SAMPLES = tuple(Encoded((0,) * (3 + number % 5) + (number,), 1) for number in range(23))


@given(batch=st.integers(1, 5), accumulation=st.integers(1, 4), seed=st.integers(0, 9))
def test_every_sample_is_seen_once_an_epoch(batch, accumulation, seed) -> None:
    recipe = Recipe(batch=batch, accumulation=accumulation, seed=seed)
    each = recipe.steps_an_epoch(len(SAMPLES))
    epochs = []
    for epoch in range(2):
        steps = [step_samples(SAMPLES, epoch * each + step, recipe) for step in range(each)]
        assert all(len(group) <= batch for groups in steps for group in groups)
        assert all(len(groups) <= accumulation for groups in steps)
        seen = [one for groups in steps for group in groups for one in group]
        assert sorted(seen, key=lambda one: one.ids[-1]) == list(SAMPLES)
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_the_order_is_the_seeds_and_the_steps_alone() -> None:
    one, other = Recipe(batch=2, accumulation=2), Recipe(batch=2, accumulation=2, seed=1)
    assert step_samples(SAMPLES, 4, one) == step_samples(SAMPLES, 4, one)
    assert step_samples(SAMPLES, 4, one) != step_samples(SAMPLES, 4, other)


def test_like_lengths_go_together() -> None:
    lengths = [[len(one.ids) for one in group] for group in in_batches(SAMPLES, 4)]
    flat = [length for group in lengths for length in group]
    assert flat == sorted(flat)


def test_some_are_always_the_same_ones() -> None:
    drawn = some(SAMPLES, 5, seed=1)
    assert len(drawn) == 5
    assert drawn == some(SAMPLES, 5, seed=1) != some(SAMPLES, 5, seed=2)
    assert some(SAMPLES, 99, seed=1) == SAMPLES
