"""A model's weights in fewer bits: what it saves, and what it costs in perplexity.

The text of the measurement is our own (`held_out.md` beside this file), written for it, unless
another is named: no model has learned it by heart.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.training.batches import Encoded, in_batches
from coordsvc.training.evaluate import perplexity
from coordsvc.training.jobs import speech
from coordsvc.training.learner import target_loss
from coordsvc.training.libraries import libraries
from coordsvc.training.origin import Origin, load

Kind = Literal["nf4", "int8"]
OUR_TEXT = Path(__file__).with_name("held_out.md")
WINDOW_TOKENS = 256
"""Tokens read together: each is foreseen from those before it in the window."""
BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a model takes, and how well it foresees the text."""

    memory_bytes: int
    """Of its weights and buffers."""
    disk_bytes: int
    perplexity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """A model before and after."""

    model: str
    to: str
    text: str
    text_tokens: int
    """Foreseen ones."""
    before: Size
    """In bfloat16."""
    after: Size
    out: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return asdict(self)


def quantise(base: Origin, to: Kind, text: Path | None, out: Path | None) -> Quantised:
    """Quantise the model and measure both; write the quantised one to `out`, if one is named.

    Raises `BadRequest` if `out` is there or the text is too short.
    """
    if out is not None and out.exists():
        raise BadRequest(f"{out}: is there already; name a folder that is not")
    windows = _windows(base, text or OUR_TEXT)
    plain = load(base.folder, dtype="bfloat16").eval()
    before = Size(
        memory_bytes=int(plain.get_memory_footprint()),
        disk_bytes=folder_bytes(base.folder),
        perplexity=_perplexity(plain, windows),
    )
    del plain
    packed = load(base.folder, quantise=to, dtype="bfloat16").eval()
    memory = int(packed.get_memory_footprint())
    # Before it is used: on a CPU bitsandbytes repacks NF4 weights at the first look.
    disk = _save(packed, base, out) if out is not None else _disk(packed)
    after = Size(memory_bytes=memory, disk_bytes=disk, perplexity=_perplexity(packed, windows))
    return Quantised(
        model=base.name,
        to=to,
        text=str(text) if text else "our own",
        text_tokens=sum(window.target_tokens for window in windows),
        before=before,
        after=after,
        out=str(out) if out else None,
    )


def folder_bytes(folder: Path) -> int:
    """Return the size of a folder's weights."""
    return sum(one.stat().st_size for one in folder.glob("*.safetensors"))


def windows(ids: list[int], size: int) -> list[Encoded]:
    """Return the ids cut into windows; of each, all but the first id are foreseen."""
    cut = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [Encoded(tuple(one), 1) for one in cut if len(one) > 1]


def _windows(base: Origin, text: Path) -> list[Encoded]:
    try:
        said = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{text}: the text cannot be read: {error}") from error
    found = windows(speech(base).chat.literal(said), WINDOW_TOKENS)
    if not found:
        raise BadRequest(f"{text}: is too short to measure anything by; a page of prose is right")
    return found


def _perplexity(model: Any, found: list[Encoded]) -> float:
    torch = libraries().torch
    with torch.inference_mode():
        parts = [
            float(target_loss(torch, model, batch, model.device.type))
            for batch in in_batches(found, BATCH)
        ]
    return perplexity(sum(parts) / sum(window.target_tokens for window in found))


def _disk(model: Any) -> int:
    """Return what the weights would take as a file: they are written as they are in memory."""
    return sum(one.numel() * one.element_size() for one in _distinct(model))


def _distinct(model: Any) -> list[Any]:
    """Return the tensors of a model's file, each once: tied ones are one."""
    return list({one.data_ptr(): one for one in model.state_dict().values()
                 if hasattr(one, "data_ptr")}.values())  # fmt: skip


def _save(model: Any, base: Origin, out: Path) -> int:
    lib = libraries().transformers
    try:
        model.save_pretrained(str(out))
        lib.AutoTokenizer.from_pretrained(str(base.folder)).save_pretrained(str(out))
    except OSError as error:
        raise EngineBroken(f"{out}: cannot be written ({error})") from error
    return folder_bytes(out)
