"""Adapters' folders as peft writes them, made by hand: neither torch nor peft is needed."""

import json
from pathlib import Path
from typing import Any

import numpy as np

Q_PROJ = "model.layers.0.self_attn.q_proj"


def safetensors(tensors: dict[str, np.ndarray], dtypes: dict[str, str] | None = None) -> bytes:
    """Return a file of these tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        raw = tensor.tobytes()
        dtype = (dtypes or {}).get(
            name, {"f4": "F32", "f2": "F16"}.get(tensor.dtype.str[1:], "I32")
        )
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    told = json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + data


def pair(
    rows: int = 6, columns: int = 8, rank: int = 2, seed: int = 0, layer: str = Q_PROJ
) -> dict[str, np.ndarray]:
    """Return a pair of random matrices under peft's names."""
    chance = np.random.default_rng(seed)
    return {
        f"base_model.model.{layer}.lora_A.weight": chance.normal(size=(rank, columns)).astype("f4"),
        f"base_model.model.{layer}.lora_B.weight": chance.normal(size=(rows, rank)).astype("f4"),
    }


def write(
    folder: Path,
    tensors: dict[str, np.ndarray] | None = None,
    card: dict[str, Any] | None = None,
    dtypes: dict[str, str] | None = None,
    **config: Any,
) -> Path:
    """Write an adapter's folder; `config` changes what its configuration says."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "bias": "none"} | config
    (folder / "adapter_config.json").write_text(json.dumps(said))
    weights = safetensors(pair() if tensors is None else tensors, dtypes)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    if card is not None:
        (folder / "coordsvc.json").write_text(json.dumps(card))
    return folder
