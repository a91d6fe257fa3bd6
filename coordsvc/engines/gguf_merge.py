"""A .gguf with an adapter in its weights, for an engine that cannot keep them apart.

Rules. Only layers that the adapter changes are written anew, in the type `MERGED`: their own type
may be too coarse for what is added, and numpy cannot write every type. All else is copied byte for
byte. Llama's rows of queries and keys lie in another order in a .gguf than in a Hugging Face
folder, and so the change is put into that order first. Nothing here needs torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.adapters import Adapter, require_shapes

LAYERS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""A layer's parts in peft's words and in a .gguf's."""
ROWS_REORDERED = {"llama": ("attn_q", "attn_k"), "qwen2": ()}
"""The kinds of model that can be merged, and in which parts their rows are in another order."""
MERGED = "F16"
"""Exact enough for any adapter: a thousandth of each weight."""


@contextmanager
def merged(base: Path, adapter: Adapter) -> Iterator[Path]:
    """Yield a copy of the base with the adapter in its weights, for as long as it is needed.

    Raises `EngineBroken` if the base is no .gguf, or the adapter cannot be merged into it.
    """
    if base.suffix != ".gguf":
        msg = (
            f"engine.adapters.{adapter.agent} cannot be merged into {base}, which is no .gguf; "
            "with openvino name the base's .gguf, or serve adapters with transformers or vllm"
        )
        raise EngineBroken(msg)
    with TemporaryDirectory(prefix="coordsvc-merged-") as folder:
        yield merge(base, adapter, Path(folder) / base.name)


def merge(base: Path, adapter: Adapter, out: Path) -> Path:
    """Write the base with the adapter in its weights to `out`."""
    try:
        import gguf  # noqa: PLC0415 - needed where adapters are merged, and nowhere else
    except ImportError as error:
        msg = f"merging adapters needs gguf ({error}); try: pip install 'coordsvc[cpu]'"
        raise EngineBroken(msg) from error
    try:
        reader: Any = gguf.GGUFReader(base)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise EngineBroken(f"{base} cannot be read ({error}): cut short or damaged") from error
    kind = str(reader.fields["general.architecture"].contents())
    if kind not in ROWS_REORDERED:
        raise EngineBroken(
            f"engine.adapters.{adapter.agent}: adapters cannot be merged into a model of kind "
            f"{kind!r} ({base}); they can into: {', '.join(ROWS_REORDERED)}"
        )
    there = {tensor.name: tensor for tensor in reader.tensors}
    shapes = {
        layer: tuple(int(size) for size in reversed(there[name].shape))
        for layer in adapter.layers()
        if (name := _name(layer)) in there
    }
    require_shapes(adapter, shapes, base)
    _write(gguf, reader, kind, {_name(layer): layer for layer in adapter.layers()}, adapter, out)
    return out


def _write(
    gguf: Any, reader: Any, kind: str, changed: dict[str, str], adapter: Adapter, out: Path
) -> None:
    writer = gguf.GGUFWriter(out, kind)
    _copy_fields(gguf, reader, writer)
    target = gguf.GGMLQuantizationType[MERGED]
    for tensor in reader.tensors:
        layer = changed.get(tensor.name)
        if layer is None:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        change = adapter.change(layer)
        part = tensor.name.split(".")[2]
        if part in ROWS_REORDERED[kind]:
            change = _reordered(change, _heads(reader, kind, part))
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(change.shape)
        writer.add_tensor(
            tensor.name, gguf.quants.quantize(weights + change, target), raw_dtype=target
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_fields(gguf: Any, reader: Any, writer: Any) -> None:
    """Copy all that the file says of the model; the writer adds the rest itself."""
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)


def _name(layer: str) -> str:
    """Return a layer's name in a .gguf, or nothing if it has none that can be merged."""
    head, _, rest = layer.removeprefix("model.layers.").partition(".")
    return f"blk.{head}.{LAYERS[rest]}.weight" if rest in LAYERS else ""


def _heads(reader: Any, kind: str, part: str) -> int:
    """Return how many heads the rows of a part are divided among."""
    name = f"{kind}.attention.head_count"
    told = reader.fields.get(f"{name}_kv") if part == "attn_k" else None
    return int((told or reader.fields[name]).contents())


def _reordered(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Return each head's rows as pairs: its first half's and its second half's, in turn."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, rows.shape[1])
    return halves.swapaxes(1, 2).reshape(rows.shape)
