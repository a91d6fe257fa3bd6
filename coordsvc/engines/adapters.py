"""LoRA adapters: an agent's own weights, read and checked before an engine takes them.

Rules. Plain LoRA only, as peft writes it: a pair of matrices a layer, one rank for all. Everything
else (DoRA, trained biases, whole layers saved beside) is refused, as some engine would leave it out
without a word. Weights are read from safetensors only: a .bin may run code when it is opened. The
names of layers are the base's own, without peft's `base_model.model.` before them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.engines.fingerprint import model_digest

CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "coordsvc.json"
RANK_MAX = 512
"""The highest that vLLM takes. Beyond it an adapter is no longer small beside its base."""
HEADER_BYTES_MAX = 100_000_000
"""The format's own limit."""
_SIZES = {"F32": 4, "F16": 2, "BF16": 2}
_PEFT = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_NOT_PLAIN = (
    "use_dora",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "alora_invocation_tokens",
    "trainable_token_indices",
    "layer_replication",
    "lora_bias",
)
"""What makes a LoRA more than pairs of matrices, in peft's words."""

Shapes = Mapping[str, tuple[int, ...]]
"""The rows and columns of each layer's weights, by the layer's name."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies in a safetensors file; `start` and `end` are bytes of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An agent's adapter, its folder read and found whole."""

    agent: str
    folder: Path
    rank: int
    scale: float
    """By what the product of a pair is multiplied before it is added to the base's weights."""
    tensors: Mapping[str, Tensor]

    def layers(self) -> list[str]:
        """Return the names of the layers that it changes, in order."""
        return sorted(_layer(name) for name in self.tensors if name.endswith(_A))

    def shape(self, layer: str) -> tuple[int, int]:
        """Return the rows and columns that the layer must have."""
        columns = self.tensors[f"{_PEFT}{layer}{_A}"].shape[1]
        return self.tensors[f"{_PEFT}{layer}{_B}"].shape[0], columns

    def change(self, layer: str) -> NDArray[np.float32]:
        """Return what is added to the layer's weights, rows x columns."""
        first, second = (self._read(f"{_PEFT}{layer}{end}") for end in (_A, _B))
        return np.asarray(second @ first * np.float32(self.scale), dtype=np.float32)

    def _read(self, name: str) -> NDArray[np.float32]:
        tensor = self.tensors[name]
        with (self.folder / WEIGHTS).open("rb") as file:
            file.seek(tensor.start)
            raw = file.read(tensor.end - tensor.start)
        if tensor.dtype == "BF16":
            # The upper half of a float32.
            flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            flat = np.frombuffer(raw, "<f4" if tensor.dtype == "F32" else "<f2").astype(np.float32)
        return flat.reshape(tensor.shape)


def read_all(folders: Mapping[str, str], base: Path | str) -> tuple[Adapter, ...]:
    """Return the adapters that the settings name, by agent in order.

    `base` is the model's file or folder, or a hub's id, of which nothing is known here. Raises
    `EngineBroken` saying what, where, and what would be right.
    """
    found = tuple(read(agent, folder) for agent, folder in sorted(folders.items()))
    for adapter in found:
        _require_base(adapter, base)
    return found


def read(agent: str, folder: str) -> Adapter:
    """Return the adapter in a folder; raise `EngineBroken` if it cannot be served."""
    path = Path(folder).expanduser()
    where = f"engine.adapters.{agent} ({path})"
    if not path.is_dir():
        raise EngineBroken(f"{where} is no folder; give one that peft has saved an adapter in")
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise EngineBroken(
                f"{where} has no {name}; right is a folder with {CONFIG} and {WEIGHTS}, as "
                "`coordsvc train finetune` and peft's save_pretrained write it"
            )
    config = _json(path / CONFIG, where)
    rank = _plain(config, where)
    tensors = safetensors_header(path / WEIGHTS)
    _pairs(tensors, rank, where)
    alpha = float(config.get("lora_alpha") or rank)
    root = math.sqrt(rank) if config.get("use_rslora") else rank
    return Adapter(
        agent=agent, folder=path.resolve(), rank=rank, scale=alpha / root, tensors=tensors
    )


def require_shapes(adapter: Adapter, shapes: Shapes, base: Path | str) -> None:
    """Return if the base has every layer of the adapter, and of its size; else `EngineBroken`."""
    where = f"engine.adapters.{adapter.agent} ({adapter.folder})"
    for layer in adapter.layers():
        wanted, there = adapter.shape(layer), shapes.get(layer)
        if there is None or tuple(there) != wanted:
            has = "has no such layer" if there is None else f"has {_times(there)}"
            raise EngineBroken(
                f"{where} was made for another base: its layer {layer} is {_times(wanted)}, and "
                f"{base} {has}; name the model that it was trained on, or train it anew"
            )


def require_known(adapter: str, known: Mapping[str, object]) -> None:
    """Return if a request may name this adapter; raise `BadRequest` if the engine has none such."""
    if adapter and adapter not in known:
        there = ", ".join(sorted(known)) or "none"
        raise BadRequest(f"this engine has no adapter for {adapter!r}; there are: {there}")


def folder_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a Hugging Face folder's layers; none if it has no safetensors."""
    return {
        name.removesuffix(".weight"): tensor.shape
        for file in sorted(folder.glob("*.safetensors"))
        for name, tensor in safetensors_header(file).items()
    }


def safetensors_header(file: Path) -> dict[str, Tensor]:
    """Return where each tensor of a file lies; raise `EngineBroken` if the file is cut short."""
    try:
        total = file.stat().st_size
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            # More than there is, or than may be, ends in half a header and so in an error.
            told = json.loads(opened.read(min(size, HEADER_BYTES_MAX)))
        told.pop("__metadata__", None)
        found = {name: _tensor(one, 8 + size) for name, one in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{file} cannot be read ({error}): it is cut short, damaged, or no safetensors file"
        raise EngineBroken(msg) from error
    last = max((tensor.end for tensor in found.values()), default=0)
    if last > total:
        msg = f"{file} is cut short: it should have {last} bytes and has {total}; copy it again"
        raise EngineBroken(msg)
    return found


def _tensor(told: Mapping[str, Any], begin: int) -> Tensor:
    start, end = told["data_offsets"]
    shape = tuple(int(size) for size in told["shape"])
    if not 0 <= start <= end:
        raise ValueError(f"a tensor from byte {start} to byte {end}")
    return Tensor(str(told["dtype"]), shape, begin + int(start), begin + int(end))


def _plain(config: Mapping[str, Any], where: str) -> int:
    """Return the rank of a plain LoRA's configuration."""
    kind, rank = config.get("peft_type"), config.get("r")
    if kind != "LORA":
        raise EngineBroken(f"{where}: {CONFIG} says peft_type {kind!r}; only LORA can be served")
    odd = [name for name in _NOT_PLAIN if config.get(name)]
    if config.get("bias", "none") != "none":
        odd.append("bias")
    if odd:
        raise EngineBroken(
            f"{where}: {CONFIG} sets {', '.join(odd)}, which not every engine serves; "
            "train it as a plain LoRA"
        )
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= RANK_MAX:
        raise EngineBroken(f"{where}: {CONFIG} says r {rank!r}; it must be from 1 to {RANK_MAX}")
    return rank


def _pairs(tensors: Mapping[str, Tensor], rank: int, where: str) -> None:
    """Check that there are pairs of this rank and nothing else."""
    for name, tensor in tensors.items():
        ends = [end for end in (_A, _B) if name.endswith(end)]
        if not name.startswith(_PEFT) or not ends:
            raise EngineBroken(f"{where}: {WEIGHTS} holds {name}, which is no part of a plain LoRA")
        other = name.removesuffix(ends[0]) + (_B if ends[0] == _A else _A)
        if other not in tensors:
            raise EngineBroken(f"{where}: {WEIGHTS} holds {name} without {other}")
        along = 0 if ends[0] == _A else 1
        if len(tensor.shape) != 2 or tensor.shape[along] != rank:  # noqa: PLR2004 - a matrix
            raise EngineBroken(
                f"{where}: {name} is {_times(tensor.shape)}, which is not of rank {rank} "
                f"as {CONFIG} says"
            )
        size = math.prod(tensor.shape) * _SIZES.get(tensor.dtype, 0)
        if size != tensor.end - tensor.start:
            raise EngineBroken(
                f"{where}: {name} holds {tensor.dtype} in {tensor.end - tensor.start} bytes; "
                f"it must be one of {', '.join(_SIZES)}, whole"
            )
    if not tensors:
        raise EngineBroken(f"{where}: {WEIGHTS} is empty; train the adapter anew")


def _require_base(adapter: Adapter, base: Path | str) -> None:
    """Compare the base with the one that the adapter's card names, where both are told."""
    card = adapter.folder / CARD
    if not card.is_file() or not isinstance(base, Path):
        return
    where = f"engine.adapters.{adapter.agent} ({adapter.folder})"
    told = _json(card, where)
    made_for, here = told.get("base_fingerprint"), model_digest(base)
    if made_for is not None and made_for != here:
        raise EngineBroken(
            f"{where} was made for the base {told.get('base')!r} with {made_for}; engine.model "
            f"({base}) has {here}; name that base, or train the adapter on this one"
        )


def _json(file: Path, where: str) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineBroken(f"{where}: {file.name} cannot be read: {error}") from error
    if not isinstance(told, dict):
        raise EngineBroken(f"{where}: {file.name} holds no JSON object")
    return told


def _layer(name: str) -> str:
    return name.removeprefix(_PEFT).removesuffix(_A)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
