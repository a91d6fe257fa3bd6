"""How an agent is fine-tuned: every number of it, and presets that name a set of them.

| preset | for | differs from the article's recipe in |
|---|---|---|
| `recipe` | a GPU | nothing: 5 epochs, rate 2e-5, batch 16, accumulation 16, seed 2024, NF4 |
| `laptop` | two CPU cores, the small model | few small steps, a larger rate, no quantisation |
| `tiny` | tests, and a first try: seconds | six steps of two short samples |

Sources. The epochs, the rate, the batch, its accumulation and the seed are the article's. What it
leaves open (rank, warm-up, clipping) is as QLoRA (arXiv:2305.14314) or peft has it.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from math import ceil, cos, pi
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordsvc.core.errors import BadRequest


class Preset(StrEnum):
    """Names of whole recipes."""

    RECIPE = "recipe"
    LAPTOP = "laptop"
    TINY = "tiny"


class Recipe(BaseModel):
    """The numbers of one fine-tuning. The defaults are the article's recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=5, ge=1, le=1_000)
    """Times that every sample is seen. The article's."""
    steps_max: int | None = Field(default=None, ge=1, le=10_000_000)
    """Optimizer steps after which it ends, whatever is left of the epochs; None: no such end."""
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    """At its highest, after the warm-up. The article's; small models need more in few steps."""
    warmup_share: float = Field(default=0.03, ge=0, le=1)
    """Of all steps, in which the rate grows to its highest; it falls as a cosine afterwards."""
    batch: int = Field(default=16, ge=1, le=4_096)
    """Samples computed at once. The article's."""
    accumulation: int = Field(default=16, ge=1, le=4_096)
    """Batches whose gradients make one optimizer step. The article's."""
    seed: int = Field(default=2024, ge=0, lt=1 << 32)
    """Of the order, the adapter's first weights and dropout. The article's."""
    sequence_tokens_max: int = Field(default=1_024, ge=16, le=1_000_000)
    """Tokens of prompt and target. A longer target is cut; a prompt that leaves no room for one is
    dropped, and counted. 1,024 holds nine of ten three-turn dialogues of OpenAssistant."""
    rank: int = Field(default=16, ge=1, le=512)
    """Of the adapter's matrices. Within what vLLM serves without a larger `max_lora_rank`."""
    alpha: int = Field(default=32, ge=1, le=4_096)
    """The adapter's scale is alpha / rank; twice the rank is common usage."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of the adapter's inputs left out at a step: QLoRA's, for models of this size."""
    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
    )
    """Layers that get an adapter: all linear ones of a block, as in QLoRA."""
    quantise: Literal["nf4", "none"] = "nf4"
    """How the frozen base is kept. NF4 saves memory on a GPU; on a CPU it only costs time."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """In what the base computes. The adapter itself is always float32."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """AdamW's; adapters are small enough without."""
    clip_norm: float = Field(default=1.0, gt=0, le=1_000)
    """The longest gradient taken; one odd batch cannot throw the adapter off."""
    evaluate_every: int = Field(default=10, ge=1, le=1_000_000)
    """Steps between looks at the held-out samples."""
    held_out_max: int = Field(default=256, ge=1, le=1_000_000)
    """Held-out samples looked at, the same each time: a look costs a third of a step a sample."""
    patience: int = Field(default=3, ge=1, le=1_000)
    """Looks without a new best after which it stops early."""
    checkpoint_every: int = Field(default=10, ge=1, le=1_000_000)
    """Steps between checkpoints: what a kill loses at most."""

    def fingerprint(self) -> str:
        """Return a name that no other recipe has."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def steps_an_epoch(self, samples: int) -> int:
        """Return the optimizer steps of one epoch; its last one may be of fewer samples."""
        return ceil(samples / (self.batch * self.accumulation))

    def steps(self, samples: int) -> int:
        """Return the optimizer steps in all."""
        wanted = self.epochs * self.steps_an_epoch(samples)
        return min(wanted, self.steps_max or wanted)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step `step` of `steps`, the first being 0; never 0."""
        warm = ceil(self.warmup_share * steps)
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        done = (step - warm) / max(1, steps - warm)
        return self.learning_rate * (1 + cos(pi * done)) / 2


_LAPTOP: Mapping[str, Any] = {
    "steps_max": 200,
    "learning_rate": 1e-3,
    "batch": 4,
    "accumulation": 1,
    "sequence_tokens_max": 320,
    "rank": 64,
    "dropout": 0.2,
    "quantise": "none",
    "held_out_max": 32,
    "evaluate_every": 20,
    "patience": 5,
    "checkpoint_every": 20,
}
_TINY: Mapping[str, Any] = {
    "steps_max": 6,
    "learning_rate": 2e-3,
    "batch": 2,
    "accumulation": 1,
    "sequence_tokens_max": 192,
    "rank": 4,
    "alpha": 8,
    "dropout": 0.05,
    "quantise": "none",
    "held_out_max": 4,
    "evaluate_every": 3,
    "checkpoint_every": 2,
}
PRESETS: Mapping[Preset, Recipe] = {
    Preset.RECIPE: Recipe(),
    Preset.LAPTOP: Recipe(**_LAPTOP),
    Preset.TINY: Recipe(**_TINY),
}


def chosen(preset: Preset, changes: Sequence[str] = ()) -> Recipe:
    """Return a preset with changes, each as `rank=8`. Raises `BadRequest` if one is wrong."""
    told = dict(_name_and_value(change) for change in changes)
    try:
        return Recipe.model_validate(PRESETS[preset].model_dump() | told)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']} (it is {one['input']!r})"
            for one in error.errors()
        )
        raise BadRequest(f"the recipe is wrong: {wrong}") from None


def _name_and_value(change: str) -> tuple[str, str]:
    name, equals, value = change.partition("=")
    if not equals or not name:
        raise BadRequest(f"--set {change}: a name, an equals sign and a value are right: rank=8")
    return name, value
