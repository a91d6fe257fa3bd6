"""A .gguf with an adapter in its weights: what changes, by how much, and what does not."""

from pathlib import Path

import numpy as np
import pytest

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.adapters import read
from coordsvc.engines.gguf_merge import merge, merged
from tests.unit.engines.adapter_files import pair, write

gguf = pytest.importorskip("gguf", reason="the cpu extra is not installed")

HEADS, KV_HEADS, HEAD_ROWS, WIDTH = 4, 2, 4, 32
LAYER = "model.layers.1"
SIZES = {
    "self_attn.q_proj": ("attn_q", HEADS * HEAD_ROWS),
    "self_attn.k_proj": ("attn_k", KV_HEADS * HEAD_ROWS),
    "self_attn.v_proj": ("attn_v", KV_HEADS * HEAD_ROWS),
    "mlp.down_proj": ("ffn_down", 3),
}


def reordered(rows: np.ndarray, heads: int) -> np.ndarray:
    """Return rows as llama.cpp orders them, one by one: row i of a head's first half, then of
    its second."""
    size = len(rows) // heads
    order = [
        head * size + half * (size // 2) + row
        for head in range(heads)
        for row in range(size // 2)
        for half in range(2)
    ]
    return rows[order]


def weights() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(5)
    return {
        part: chance.normal(size=(rows, WIDTH)).astype("f4") for part, (_, rows) in SIZES.items()
    }


def base(file: Path, kind: str = "llama", *, quantised: bool = False) -> Path:
    """Write a model of one layer that has been brought into a .gguf's order."""
    writer = gguf.GGUFWriter(file, kind)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_token_list(["a", "b"])
    writer.add_bool("tokenizer.ggml.add_bos_token", val=False)
    for part, (name, _) in SIZES.items():
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name) if kind == "llama" else None
        whole = weights()[part]
        tensor = reordered(whole, heads) if heads else whole
        if quantised:
            eight = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(
                f"blk.1.{name}.weight", gguf.quants.quantize(tensor, eight), raw_dtype=eight
            )
        else:
            writer.add_tensor(f"blk.1.{name}.weight", tensor)
    writer.add_tensor("output_norm.weight", np.arange(WIDTH, dtype="f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def adapted(folder: Path, *parts: str):
    tensors = {}
    for seed, part in enumerate(parts):
        rows = SIZES.get(part, ("", 3))[1]
        tensors |= pair(rows, WIDTH, seed=seed, layer=f"{LAYER}.{part}")
    return read("planner", str(write(folder, tensors)))


def contents(file: Path) -> dict[str, np.ndarray]:
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(file).tensors
    }


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize(("kind", "reorders"), [("llama", True), ("qwen2", False)])
def test_each_layer_gets_its_own_change_in_the_file_s_own_order(
    tmp_path: Path, kind: str, *, reorders: bool, quantised: bool
) -> None:
    adapter = adapted(tmp_path / "a", *SIZES)
    there = base(tmp_path / "base.gguf", kind, quantised=quantised)
    found = contents(merge(there, adapter, tmp_path / "out.gguf"))
    for part, (name, _) in SIZES.items():
        whole = weights()[part] + adapter.change(f"{LAYER}.{part}")
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name) if reorders else None
        expected = reordered(whole, heads) if heads else whole
        assert np.allclose(found[f"blk.1.{name}.weight"], expected, atol=0.03), part


def test_what_no_adapter_names_stays_as_it_was_to_the_byte(tmp_path: Path) -> None:
    there = base(tmp_path / "base.gguf", quantised=True)
    merge(there, adapted(tmp_path / "a", "self_attn.v_proj"), tmp_path / "out.gguf")
    before, after = gguf.GGUFReader(there), gguf.GGUFReader(tmp_path / "out.gguf")
    changed = {
        one.name
        for one, other in zip(before.tensors, after.tensors, strict=True)
        if one.tensor_type != other.tensor_type or one.data.tobytes() != other.data.tobytes()
    }
    assert changed == {"blk.1.attn_v.weight"}
    said = {
        name: field.contents()
        for name, field in before.fields.items()
        if not name.startswith("GGUF.")
    }
    assert {name: after.fields[name].contents() for name in said} == said
    assert said["tokenizer.ggml.tokens"] == ["a", "b"]


def test_the_copy_is_gone_afterwards(tmp_path: Path) -> None:
    there = base(tmp_path / "base.gguf")
    with merged(there, adapted(tmp_path / "a", "self_attn.v_proj")) as copy:
        assert copy.is_file()
        assert copy != there
    assert not copy.parent.exists()


@pytest.mark.parametrize("layer", ["lm_head", "self_attn.rotary", "self_attn.o_proj"])
def test_a_layer_that_the_base_has_not_is_refused(tmp_path: Path, layer: str) -> None:
    there = base(tmp_path / "base.gguf")
    with pytest.raises(EngineBroken, match="has no such layer"):
        merge(there, adapted(tmp_path / "a", layer), tmp_path / "out.gguf")


def test_other_kinds_of_model_and_other_files_are_refused(tmp_path: Path) -> None:
    adapter = adapted(tmp_path / "a", "self_attn.v_proj")
    there = base(tmp_path / "base.gguf", "gemma")
    with pytest.raises(EngineBroken, match=r"kind 'gemma'.*they can into: llama, qwen2"):
        merge(there, adapter, tmp_path / "out.gguf")
    with (
        pytest.raises(EngineBroken, match=r"is no .gguf; with openvino name"),
        merged(tmp_path, adapter),
    ):
        pass
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(EngineBroken, match="cut short or damaged"):
        merge(broken, adapter, tmp_path / "out.gguf")
