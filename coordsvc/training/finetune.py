"""One agent's fine-tuning, a step at a time: what a shell drives. Knows no library of models.

In a step's order: learn; look at the held-out samples where it is time; write the trace's line;
write a checkpoint where it is time. So a checkpoint never knows of a step that the trace does not,
and whoever goes on cuts the trace back to its checkpoint and does the same steps again.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.core.units import SECOND, AgentId
from coordsvc.ports import Clock
from coordsvc.training import checkpoints, loss_trace
from coordsvc.training.adapters import Card
from coordsvc.training.adapters import write as write_card
from coordsvc.training.batches import Encoded, step_samples
from coordsvc.training.checkpoints import Checkpoint
from coordsvc.training.learner import Learned
from coordsvc.training.libraries import versions
from coordsvc.training.loss_trace import TraceLine
from coordsvc.training.recipe import Recipe

TRACE, CHECKPOINTS, FINISHED = "trace.jsonl", "checkpoints", "adapter"
"""What lies in a training's folder."""
BEST = "best.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be trained, on what, and where it is kept."""

    agent: AgentId
    base: str
    base_fingerprint: str
    data_fingerprint: str
    recipe: Recipe
    train: tuple[Encoded, ...]
    held_out: tuple[Encoded, ...]
    folder: Path
    dropped: Mapping[str, int]
    """Samples that did not fit, by reason."""

    def __post_init__(self) -> None:
        for split, samples in (("train", self.train), ("held_out", self.held_out)):
            if not samples:
                raise BadRequest(
                    f"there are no samples of {self.agent} to use in split {split!r} (dropped: "
                    f"{dict(self.dropped)}); prepare more dialogues, or raise "
                    f"sequence_tokens_max, which is {self.recipe.sequence_tokens_max}"
                )

    @property
    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a checkpoint to be of this training."""
        return {
            "agent": self.agent,
            "base": self.base_fingerprint,
            "data": self.data_fingerprint,
            "recipe": self.recipe.model_dump(mode="json"),
        }


class Learns(Protocol):
    """What a fine-tuning needs of a model: `coordsvc.training.learner.Learner` is one."""

    def step(self, batches: list[list[Encoded]], rate: float) -> Learned:
        """Learn from the batches as one step."""
        ...

    def held_out(self, samples: tuple[Encoded, ...]) -> float:
        """Return the mean loss over the samples' target tokens."""
        ...

    def weights(self) -> bytes:
        """Return the adapter's weights."""
        ...

    def state(self) -> dict[str, bytes]:
        """Return all that is needed to go on."""
        ...

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Go on from what `state` returned."""
        ...

    def export(self, weights: bytes, folder: Path) -> None:
        """Write an adapter with these weights."""
        ...


@dataclass(slots=True)
class _Progress:
    """What a training remembers beside its model."""

    first: float
    """Held-out loss before the first step."""
    last: float
    best: float
    best_step: int
    looks_since: int = 0
    """Looks at the held-out samples since the best one."""
    loss: float = 0.0
    """Of the last step."""


class Finetune:
    """A fine-tuning. `begin` or `resume` first; then `step` until `done`; then `finish`."""

    def __init__(self, job: Job, learner: Learns, clock: Clock) -> None:
        self.job = job
        self.steps = job.recipe.steps(len(job.train))
        self.step_done = 0
        self._learner = learner
        self._clock = clock
        self._progress = _Progress(first=0.0, last=0.0, best=0.0, best_step=0)
        self._best = b""
        self._trace = job.folder / TRACE
        self._checkpoints = job.folder / CHECKPOINTS

    @property
    def done(self) -> bool:
        """Tell whether nothing is left to do: all steps, or no gain for as long as allowed."""
        return self.step_done >= self.steps or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Tell whether the held-out samples gained nothing for as long as the recipe allows."""
        return self._progress.looks_since >= self.job.recipe.patience

    @property
    def loss(self) -> float:
        """Return the mean loss of the last step; 0 before the first."""
        return self._progress.loss

    @property
    def held_out(self) -> float:
        """Return the held-out loss as last looked at."""
        return self._progress.last

    def begin(self) -> TraceLine:
        """Look at the held-out samples before any step, and keep that as the first checkpoint.

        Raises `BadRequest` if the folder holds a training already.
        """
        if self._trace.exists() or self._checkpoints.exists():
            raise BadRequest(
                f"{self.job.folder}: holds a training already; add --resume to go on with it, or "
                "name another folder"
            )
        self.job.folder.mkdir(parents=True, exist_ok=True)
        before = self._clock.now()
        loss = self._learner.held_out(self.job.held_out)
        self._progress = _Progress(first=loss, last=loss, best=loss, best_step=0)
        self._best = self._learner.weights()
        line = TraceLine(
            step=0,
            epoch=0.0,
            loss=None,
            learning_rate=0.0,
            tokens=0,
            seconds=self._since(before),
            held_out=loss,
        )
        loss_trace.append(self._trace, line)
        self.checkpoint()
        return line

    def resume(self) -> int:
        """Go on from the last checkpoint; return its step.

        Raises `BadRequest` if there is none, or it is damaged or of another training.
        """
        found = checkpoints.last(self._checkpoints, self.job.identity)
        if found is None:
            raise BadRequest(f"{self._checkpoints}: holds no checkpoint to go on from")
        loss_trace.cut(self._trace, found.step)
        files = dict(found.files)
        self._best = files.pop(BEST)
        self._learner.restore(files)
        self._progress = _Progress(**found.progress)
        self.step_done = found.step
        return found.step

    def step(self) -> TraceLine:
        """Do one step, and write its line; and a checkpoint where it is time."""
        recipe, at = self.job.recipe, self.step_done
        assert not self.done, "a training that is done has no further step"
        before = self._clock.now()
        rate = recipe.rate(at, self.steps)
        learned = self._learner.step(step_samples(self.job.train, at, recipe), rate)
        self.step_done = at + 1
        self._progress.loss = learned.loss
        looked = self._look() if self._due(recipe.evaluate_every) else None
        line = TraceLine(
            step=self.step_done,
            epoch=round(self.step_done / recipe.steps_an_epoch(len(self.job.train)), 4),
            loss=learned.loss,
            learning_rate=rate,
            tokens=learned.tokens,
            seconds=self._since(before),
            held_out=looked,
        )
        loss_trace.append(self._trace, line)
        if self._due(recipe.checkpoint_every) or self.done:
            self.checkpoint()
        return line

    def checkpoint(self) -> Path:
        """Write where the training stands."""
        loss_trace.settle(self._trace)
        progress = self._progress
        names = _Progress.__dataclass_fields__
        return checkpoints.write(
            self._checkpoints,
            Checkpoint(
                step=self.step_done,
                identity=self.job.identity,
                progress={name: getattr(progress, name) for name in names},
                files={**self._learner.state(), BEST: self._best},
            ),
        )

    def finish(self) -> Path:
        """Write the adapter that was best on the held-out samples; return its folder.

        It appears whole or not at all, and replaces an earlier one of this training.
        """
        place = self.job.folder / FINISHED
        draft = self.job.folder / f".{FINISHED}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            self._learner.export(self._best, draft)
            write_card(draft, self.card())
            shutil.rmtree(place, ignore_errors=True)
            draft.replace(place)
        except OSError as error:
            raise EngineBroken(f"{place}: the adapter cannot be written ({error})") from error
        return place

    def card(self) -> Card:
        """Return what stands beside the adapter."""
        job, progress = self.job, self._progress
        return Card(
            agent=job.agent,
            base=job.base,
            base_fingerprint=job.base_fingerprint,
            data_fingerprint=job.data_fingerprint,
            recipe=job.recipe,
            seed=job.recipe.seed,
            step=progress.best_step,
            steps_done=self.step_done,
            stopped_early=self.stopped_early,
            held_out_before=progress.first,
            held_out_after=progress.best,
            samples=len(job.train),
            samples_held_out=len(job.held_out),
            dropped=dict(job.dropped),
            versions=versions(),
        )

    def _due(self, every: int) -> bool:
        return self.step_done % every == 0 or self.step_done >= self.steps

    def _look(self) -> float:
        """Return the held-out loss, and take note whether it is the best."""
        progress = self._progress
        progress.last = self._learner.held_out(self.job.held_out)
        if progress.last < progress.best:
            progress.best, progress.best_step = progress.last, self.step_done
            progress.looks_since = 0
            self._best = self._learner.weights()
        else:
            progress.looks_since += 1
        return progress.last

    def _since(self, before: int) -> float:
        return (self._clock.now() - before) / SECOND
