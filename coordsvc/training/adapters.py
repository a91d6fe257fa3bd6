"""An adapter's folder: peft's own files, and a card that says what it was made of.

`merge` writes the base with the adapter in its weights, for engines that know no adapters.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.training.libraries import libraries
from coordsvc.training.origin import Origin, load, loading
from coordsvc.training.recipe import Recipe

CARD = "coordsvc.json"
PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors")


class Card(BaseModel):
    """What an adapter was made of, and what it gained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    agent: str
    base: str
    """As a deployment names it."""
    base_fingerprint: str
    """Size and hash of the base's files, as `coordsvc.engines.fingerprint.model_digest` has it."""
    data_fingerprint: str
    recipe: Recipe
    seed: int
    step: int = Field(ge=0)
    """After how many steps these weights were the best; 0 means that no step gained."""
    steps_done: int = Field(ge=0)
    stopped_early: bool
    held_out_before: float
    """Mean loss over held-out target tokens, in nats, of the base alone."""
    held_out_after: float
    """The same with this adapter."""
    samples: int
    samples_held_out: int
    dropped: dict[str, int]
    versions: dict[str, str]

    @property
    def fell(self) -> float:
        """Return by what share of itself the held-out loss fell."""
        return 1 - self.held_out_after / self.held_out_before


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's folder, read and found whole."""

    folder: Path
    card: Card


def write(folder: Path, card: Card) -> None:
    """Put the card beside peft's files."""
    (folder / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Adapter:
    """Return the adapter of a folder; raise `BadRequest` saying what is missing or wrong there."""
    for name in (*PEFT_FILES, CARD):
        if not (folder / name).is_file():
            raise BadRequest(
                f"{folder}: has no {name}; right is the folder `adapter` that "
                "`coordsvc train finetune` writes"
            )
    try:
        card = Card.model_validate_json((folder / CARD).read_text(encoding="utf-8"))
        json.loads((folder / PEFT_FILES[0]).read_text(encoding="utf-8"))
    except (OSError, ValidationError, ValueError) as error:
        raise BadRequest(f"{folder}: its files cannot be read: {error}") from error
    return Adapter(folder, card)


def require_base(adapter: Adapter, base: Origin) -> None:
    """Return if the adapter was made for this base; raise `BadRequest` otherwise."""
    if adapter.card.base_fingerprint != base.fingerprint:
        raise BadRequest(
            f"{adapter.folder}: was made for the base {adapter.card.base!r} with "
            f"{adapter.card.base_fingerprint}; {base.name!r} has {base.fingerprint}"
        )


def merge(adapter: Adapter, base: Origin, out: Path, *, dtype: str = "float32") -> Path:
    """Write the base with the adapter in its weights, as a plain Hugging Face folder.

    Raises `BadRequest` if `out` is there already or the base is another one.
    """
    if out.exists():
        raise BadRequest(f"{out}: is there already; name a folder that is not")
    require_base(adapter, base)
    lib = libraries()
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with loading(adapter.folder):
            model = lib.peft.PeftModel.from_pretrained(
                load(base.folder, dtype=dtype), str(adapter.folder)
            )
            model.merge_and_unload(safe_merge=True).save_pretrained(str(draft))
            lib.transformers.AutoTokenizer.from_pretrained(str(base.folder)).save_pretrained(
                str(draft)
            )
        draft.replace(out)
    except OSError as error:
        raise EngineBroken(f"{out}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out
