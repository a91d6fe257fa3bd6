"""From what a command is given to a fine-tuning that can be stepped, and back to a node's port."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from coordsvc.clock import MonotonicClock
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER
from coordsvc.core.errors import BadRequest
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.core.units import AgentId, Micros
from coordsvc.engines.chat_text import ChatText
from coordsvc.ports import Clock
from coordsvc.training.batches import Example, encode, some
from coordsvc.training.finetune import CHECKPOINTS, Finetune, Job
from coordsvc.training.learner import Learner
from coordsvc.training.origin import Origin, context_tokens, origin, tokens
from coordsvc.training.recipe import Recipe

AGENTS = (PLANNER, RESPONDER, CHECKER)


class Data(Protocol):
    """What this module needs of prepared samples."""

    @property
    def fingerprint(self) -> str:
        """Return a name that no other samples have."""
        ...

    def samples(self, agent: AgentId, split: Literal["train", "held_out"]) -> Sequence[Example]:
        """Return an agent's samples; raise `BadRequest` of none."""
        ...


@dataclass(frozen=True, slots=True)
class Speech:
    """How a base encodes text."""

    chat: ChatText
    end_id: int
    context_tokens: int
    decode: Callable[[list[int]], str]
    """Returns the text of ids, without control tokens."""


def agent_named(name: str) -> AgentId:
    """Return the agent; raise `BadRequest` if there is none of this name."""
    if name not in AGENTS:
        raise BadRequest(f"there is no agent {name!r}; right is one of {', '.join(AGENTS)}")
    return AgentId(name)


def speech(base: Origin) -> Speech:
    """Return how this base encodes text."""
    wrapped, end_id, decode = tokens(base.folder)
    return Speech(wrapped.chat(), end_id, context_tokens(base.folder), decode)


def job(
    agent: AgentId, data: Data, base: Origin, spoken: Speech, recipe: Recipe, folder: Path
) -> Job:
    """Return what is to be trained. Raises `BadRequest` if no sample is left to train on."""
    most = min(recipe.sequence_tokens_max, spoken.context_tokens)
    train, held_out = (
        encode(spoken.chat, examples, end_id=spoken.end_id, tokens_max=most)
        for examples in (data.samples(agent, "train"), data.samples(agent, "held_out"))
    )
    both = (train, held_out)
    return Job(
        agent=agent,
        base=base.name,
        base_fingerprint=base.fingerprint,
        data_fingerprint=data.fingerprint,
        recipe=recipe,
        train=train.samples,
        held_out=some(held_out.samples, recipe.held_out_max, recipe.seed),
        folder=folder,
        dropped={
            "target_cut": sum(one.cut for one in both),
            "too_long": sum(one.too_long for one in both),
            "unspeakable": sum(one.unspeakable for one in both),
        },
    )


def open_training(
    agent: AgentId, data: Data, base: str, recipe: Recipe, folder: Path, device: str = "cpu"
) -> Finetune:
    """Return a fine-tuning with its model loaded; neither begun nor resumed."""
    found = origin(base)
    wanted = job(agent, data, found, speech(found), recipe, folder)
    return Finetune(wanted, Learner(found, recipe, device), MonotonicClock())


class AgentTrainee:
    """The port `Trainee`: a fine-tuning under grants, on whichever node has it next."""

    def __init__(self, training: Finetune, clock: Clock) -> None:
        self.training = training
        self._clock = clock
        self._loaded = False

    def train(self, stretch: Stretch, stop: Callable[[], bool]) -> Stretched:
        """Train on to the end of the stretch, or until `stop` says so, and write a checkpoint."""
        before = self._clock.now()
        training = self.training
        if not self._loaded or training.step_done != stretch.begin:
            self._stand(stretch.begin)
        end = training.step_done + stretch.steps
        while training.step_done < end and not training.done and not stop():
            training.step()
        training.checkpoint()
        if training.done:
            training.finish()
        return Stretched(
            agent=stretch.agent,
            step=training.step_done,
            steps=training.steps,
            done=training.done,
            loss=training.loss,
            held_out=training.held_out,
            compute_us=Micros(self._clock.now() - before),
        )

    def _stand(self, begin: int) -> None:
        """Begin, or go on from the last checkpoint, which another node may have written.

        It may be behind `begin` if that node died, or ahead of it if its answer was lost: where
        training stands is what the checkpoint says.
        """
        folder = self.training.job.folder
        if begin == 0 and not (folder / CHECKPOINTS).exists():
            self.training.begin()
        else:
            self.training.resume()
        self._loaded = True
