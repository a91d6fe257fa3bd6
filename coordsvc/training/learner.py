"""A base with an adapter that learns: the part of fine-tuning that needs the libraries.

Rules. The model stays in training mode always; only dropout is silenced for a look at held-out
samples. For in evaluation mode bitsandbytes repacks NF4 weights on a CPU, and no gradient comes
through them ever after, without a word. Each step asserts that there is one.
Chance is the learner's own: torch's generator is set to it for a step and given back, so two
learners in one process do not disturb each other, and a step depends on its checkpoint alone. On a
CPU it is the same bit for bit as long as torch has the same number of threads.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.training.batches import Encoded, in_batches
from coordsvc.training.libraries import libraries
from coordsvc.training.origin import Origin, load, of_memory
from coordsvc.training.recipe import Recipe

ADAPTER, STATE = "adapter.safetensors", "state.pt"
IGNORED = -100
"""The label that torch's loss passes over."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a step did."""

    loss: float
    """Mean over the step's target tokens, before the step."""
    tokens: int


class Learner:
    """One agent's adapter on its base."""

    def __init__(self, base: Origin, recipe: Recipe, device: str = "cpu") -> None:
        self._lib = libraries()
        self._torch = self._lib.torch
        self._recipe = recipe
        self._device = device
        if device != "cpu" and not self._torch.cuda.is_available():
            raise BadRequest(f"the device {device!r} is not here; right is cpu")
        with self._memory():
            model = load(base.folder, quantise=recipe.quantise, dtype=recipe.dtype, device=device)
        self._chance = {
            kind: self._torch.Generator(kind).manual_seed(recipe.seed).get_state()
            for kind in dict.fromkeys(("cpu", device))
        }
        if recipe.quantise != "none":
            model = self._lib.peft.prepare_model_for_kbit_training(
                model, use_gradient_checkpointing=False
            )
        with self._own_chance(), _naming_layers(recipe):
            self._model = self._lib.peft.get_peft_model(model, _lora(recipe))
        # not where its files happen to lie on this machine
        self._model.peft_config["default"].base_model_name_or_path = base.name
        self._model.train()
        self._weights = [one for one in self._model.parameters() if one.requires_grad]
        optimizer = self._torch.optim.AdamW(
            self._weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._accelerator = self._lib.accelerate.Accelerator(cpu=device == "cpu")
        self._optimizer = self._accelerator.prepare_optimizer(optimizer)

    def step(self, batches: Sequence[Sequence[Encoded]], rate: float) -> Learned:
        """Learn from the batches as one step.

        Raises `EngineBroken` if memory ends, the loss is no number, or no gradient comes through.
        """
        tokens = sum(sample.target_tokens for batch in batches for sample in batch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = 0.0
        with self._memory(), self._own_chance():
            self._optimizer.zero_grad()
            for batch in batches:
                part = self._loss(batch) / tokens
                self._accelerator.backward(part)
                loss += float(part.detach())
            self._require_gradient(loss)
            norm = float(self._accelerator.clip_grad_norm_(self._weights, self._recipe.clip_norm))
            if not (isfinite(loss) and isfinite(norm)):
                raise EngineBroken(
                    f"training diverged: loss {loss}, gradient {norm}; lower the learning rate"
                )
            self._optimizer.step()
        return Learned(loss, tokens)

    def held_out(self, samples: Sequence[Encoded]) -> float:
        """Return the mean loss over the samples' target tokens."""
        with self._memory(), self._silent(), self._torch.no_grad():
            parts = [float(self._loss(batch)) for batch in in_batches(samples, self._recipe.batch)]
        return sum(parts) / sum(sample.target_tokens for sample in samples)

    def weights(self) -> bytes:
        """Return the adapter's weights, as safetensors."""
        state = self._lib.peft.get_peft_model_state_dict(self._model, save_embedding_layers=False)
        plain = {name: one.detach().cpu().contiguous() for name, one in state.items()}
        return bytes(self._lib.safetensors.save(plain))

    def state(self) -> dict[str, bytes]:
        """Return all that a learner needs to go on, as files."""
        kept = io.BytesIO()
        self._torch.save({"optimizer": self._optimizer.state_dict(), "chance": self._chance}, kept)
        return {ADAPTER: self.weights(), STATE: kept.getvalue()}

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Go on from what `state` returned."""
        try:
            self.put(files[ADAPTER])
            kept = self._torch.load(io.BytesIO(files[STATE]), weights_only=True)
            self._optimizer.load_state_dict(kept["optimizer"])
            self._chance = kept["chance"]
        except (KeyError, RuntimeError, ValueError) as error:
            raise EngineBroken(f"the checkpoint does not fit this model: {error}") from error

    def put(self, weights: bytes) -> None:
        """Take these weights for the adapter."""
        self._lib.peft.set_peft_model_state_dict(self._model, self._lib.safetensors.load(weights))

    def export(self, weights: bytes, folder: Path) -> None:
        """Write an adapter with these weights as peft's own files, then take up the old ones."""
        before = self.weights()
        self.put(weights)
        self._model.save_pretrained(str(folder), save_embedding_layers=False)
        # a form to fill in; what there is to say stands in our card
        (folder / "README.md").unlink(missing_ok=True)
        self.put(before)

    def _loss(self, batch: Sequence[Encoded]) -> Any:
        """Return the sum of the losses of the batch's target tokens."""
        return target_loss(self._torch, self._model, batch, self._device)

    def _require_gradient(self, loss: float) -> None:
        """Raise unless a gradient has come to every matrix that can have one.

        Those named B begin as zeros, so those named A get none in the first step. Some of NF4's
        layers may be cut off while others learn: the sum of all gradients would not show it.
        """
        named = self._model.named_parameters()
        last = [(name, one.grad) for name, one in named if "lora_B" in name and one.requires_grad]
        silent = [name for name, gradient in last if gradient is None or not gradient.any()]
        if silent and isfinite(loss):
            raise EngineBroken(
                f"no gradient reaches {len(silent)} of {len(last)} layers of the adapter (the "
                f"first: {silent[0]}): they would never change. An NF4 model does so on a CPU "
                "after it was used in evaluation mode: load it anew, or train with quantise=none"
            )

    @contextmanager
    def _own_chance(self) -> Iterator[None]:
        before = self._drawn()
        self._draw_from(self._chance)
        try:
            yield
        finally:
            self._chance = self._drawn()
            self._draw_from(before)

    def _drawn(self) -> dict[str, Any]:
        """Return the state of torch's generators: the CPU's, and the device's if it is another."""
        torch = self._torch
        return {
            kind: torch.get_rng_state() if kind == "cpu" else torch.cuda.get_rng_state(kind)
            for kind in self._chance
        }

    def _draw_from(self, states: Mapping[str, Any]) -> None:
        for kind, state in states.items():
            if kind == "cpu":
                self._torch.set_rng_state(state)
            else:
                self._torch.cuda.set_rng_state(state, kind)

    @contextmanager
    def _silent(self) -> Iterator[None]:
        """Silence dropout, and nothing else: see the module's first rule."""
        loud = [one for one in self._model.modules() if isinstance(one, self._torch.nn.Dropout)]
        for one in loud:
            one.eval()
        try:
            yield
        finally:
            for one in loud:
                one.train()

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Say what to lower where memory ends."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not of_memory(error):
                raise
            raise EngineBroken(
                f"memory ended at batches of {self._recipe.batch} samples of up to "
                f"{self._recipe.sequence_tokens_max} tokens; lower batch (and raise "
                "accumulation as much: the steps stay the same), or sequence_tokens_max. "
                "The last checkpoint is kept"
            ) from error


def target_loss(torch: Any, model: Any, batch: Sequence[Encoded], device: str) -> Any:
    """Return the sum of the losses, in nats, of the target tokens of samples padded together."""
    longest = max(len(sample.ids) for sample in batch)
    first = min(sample.target_from for sample in batch)
    rows, masks, labels = [], [], []
    for sample in batch:
        rest = longest - len(sample.ids)
        rows.append([*sample.ids, *[0] * rest])
        masks.append([1] * len(sample.ids) + [0] * rest)
        hidden = [IGNORED] * (sample.target_from - first)
        labels.append([*hidden, *sample.ids[sample.target_from :], *[IGNORED] * rest])
    made = model(
        input_ids=torch.tensor(rows, device=device),
        attention_mask=torch.tensor(masks, device=device),
        # logits of the prompts are for nothing, and a vocabulary is wide
        logits_to_keep=longest - first + 1,
        use_cache=False,
    )
    logits = made.logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        torch.tensor(labels, device=device).reshape(-1),
        ignore_index=IGNORED,
        reduction="sum",
    )


def _lora(recipe: Recipe) -> Any:
    return libraries().peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets),
    )


@contextmanager
def _naming_layers(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        named = ", ".join(recipe.targets)
        raise EngineBroken(f"the base has no layers named {named}: {error}") from error
