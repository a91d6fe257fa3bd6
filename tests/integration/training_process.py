"""A training of a tiny model, as a process of its own that can be killed; and what it trains on.

The model has random weights and a tokenizer of few words: made in a second, and good for nothing
but to see that training is exact.
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from coordsvc.agents.roles import VERDICT_SCHEMA
from coordsvc.clock import MonotonicClock
from coordsvc.core.dialogue import CHECKER, RESPONDER
from coordsvc.core.generation import Message
from coordsvc.training.finetune import Finetune
from coordsvc.training.jobs import job, speech
from coordsvc.training.learner import Learner
from coordsvc.training.origin import origin
from coordsvc.training.recipe import Recipe

RECIPE = Recipe(
    epochs=2,
    learning_rate=1e-2,
    batch=2,
    accumulation=2,
    sequence_tokens_max=96,
    rank=4,
    alpha=8,
    dropout=0.2,  # so that chance matters
    quantise="none",
    dtype="float32",
    evaluate_every=3,
    held_out_max=4,
    checkpoint_every=3,
)
THINGS = ("mill", "ferry", "saw", "coat", "lamp", "rope", "hen", "loaf", "door", "wheel", "bee")
TEMPLATE = (
    "{% for one in messages %}<|im_start|>{{ one['role'] }}\n{{ one['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Sample:
    messages: tuple[Message, ...]
    target: str


class Dialogues:
    """Prepared samples, made by hand."""

    fingerprint = "made by hand"

    def samples(self, agent, split):
        numbers = range(22) if split == "train" else range(22, 30)
        return [_sample(agent, number) for number in numbers]


def _sample(agent, number) -> Sample:
    thing, other = THINGS[number % 11], THINGS[(number * 7 + 3) % 11]
    asked = (Message("system", "Be brief."), Message("user", f"Where is the {thing}?"))
    if agent == CHECKER:
        accept = str(number % 2 == 0).lower()
        return Sample(asked, f'{{"accept": {accept}, "score": {number % 10}, "reason": "{other}"}}')
    return Sample(asked, f"The {thing} is behind the {other}, where the {other} always was.")


def make_base(folder: Path) -> Path:
    """Write a model with a tokenizer of its own; return its folder."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    texts = [_sample(agent, n).target for n in range(30) for agent in (CHECKER, RESPONDER)]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        [*texts, VERDICT_SCHEMA],
        trainers.BpeTrainer(vocab_size=448, special_tokens=special, initial_alphabet=alphabet),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def training(base: Path, out: Path, agent=RESPONDER, recipe: Recipe = RECIPE) -> Finetune:
    found = origin(str(base))
    wanted = job(agent, Dialogues(), found, speech(found), recipe, out)
    return Finetune(wanted, Learner(found, recipe), MonotonicClock())


def main(base: str, out: str, how: str, die_in: int) -> None:
    """Train to the end; or be killed in step `die_in`, after its gradients, before they count."""
    one = training(Path(base), Path(out))
    if die_in:
        optimizer = one._learner._optimizer
        step = optimizer.step
        left = iter(range(die_in - 1))

        def dying(*args):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args)

        optimizer.step = dying
    if how == "resume":
        one.resume()
    else:
        one.begin()
    while not one.done:
        one.step()
    one.finish()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
