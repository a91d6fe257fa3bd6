"""Adapters' folders: what is read of a good one, and what is said of every other."""

from pathlib import Path

import numpy as np
import pytest

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.engines.adapters import (
    folder_shapes,
    read,
    read_all,
    require_known,
    require_shapes,
    safetensors_header,
)
from coordsvc.engines.fingerprint import model_digest
from tests.unit.engines.adapter_files import Q_PROJ, pair, safetensors, write

A, B = (f"base_model.model.{Q_PROJ}.lora_{one}.weight" for one in "AB")


def test_a_folder_of_peft_s_is_read(tmp_path: Path) -> None:
    adapter = read("planner", str(write(tmp_path / "a")))
    assert (adapter.agent, adapter.rank, adapter.scale) == ("planner", 2, 4.0)
    assert adapter.layers() == [Q_PROJ]
    assert adapter.shape(Q_PROJ) == (6, 8)
    whole = pair()
    assert np.allclose(adapter.change(Q_PROJ), 4 * whole[B] @ whole[A])


def test_a_rank_stabilised_adapter_is_scaled_by_the_root_of_its_rank(tmp_path: Path) -> None:
    adapter = read("planner", str(write(tmp_path / "a", use_rslora=True)))
    assert adapter.scale == pytest.approx(8 / 2**0.5)


def test_half_precision_is_read_too(tmp_path: Path) -> None:
    whole = pair()
    halves = {name: tensor.astype("f2") for name, tensor in whole.items()}
    upper = {name: (tensor.view("u4") >> 16).astype("u2") for name, tensor in whole.items()}
    exact = read("a", str(write(tmp_path / "exact"))).change(Q_PROJ)
    half = read("a", str(write(tmp_path / "half", halves))).change(Q_PROJ)
    brain = read(
        "a", str(write(tmp_path / "brain", upper, dtypes=dict.fromkeys(upper, "BF16")))
    ).change(Q_PROJ)
    assert np.allclose(exact, half, atol=0.05)
    assert np.allclose(exact, brain, atol=0.3)
    assert not np.array_equal(exact, brain)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineBroken, match=r"engine.adapters.planner \(.*nowhere\) is no folder"):
        read("planner", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named_with_what_would_be_right(tmp_path: Path, missing: str) -> None:
    (write(tmp_path / "a") / missing).unlink()
    with pytest.raises(EngineBroken, match=rf"has no {missing}; right is a folder with"):
        read("planner", str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3'; only LORA"),
        ({"use_dora": True, "bias": "all"}, "sets use_dora, bias, which not every engine"),
        ({"modules_to_save": ["lm_head"]}, "sets modules_to_save"),
        ({"rank_pattern": {"q_proj": 4}}, "sets rank_pattern"),
        ({"r": 0}, "r 0; it must be from 1 to 512"),
        ({"r": 513}, "r 513; it must be from 1 to 512"),
        ({"r": "8"}, "r '8'"),
        ({"r": 4}, "which is not of rank 4"),
    ],
)
def test_what_no_plain_lora_says_is_refused(tmp_path: Path, config: dict, said: str) -> None:
    with pytest.raises(EngineBroken, match=said):
        read("planner", str(write(tmp_path / "a", **config)))


@pytest.mark.parametrize("text", ["", "{", "[]", "\ud800"])
def test_a_configuration_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "a")
    raw = text.encode(errors="surrogatepass")
    (folder / "adapter_config.json").write_bytes(raw)
    with pytest.raises(EngineBroken, match=r"adapter_config.json (cannot be read|holds no JSON)"):
        read("planner", str(folder))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "is empty"),
        ({"lm_head.weight": np.zeros((2, 2), "f4")}, "no part of a plain LoRA"),
        ({A: pair()[A]}, f"without {B}"),
        ({A: pair()[A].astype("i4"), B: pair()[B]}, "must be one of F32, F16, BF16"),
        ({A: pair()[A], B: pair()[B].reshape(-1)}, "is not of rank 2"),
    ],
)
def test_weights_that_are_no_pairs_are_refused(tmp_path: Path, tensors: dict, said: str) -> None:
    with pytest.raises(EngineBroken, match=said):
        read("planner", str(write(tmp_path / "a", tensors)))


@pytest.mark.parametrize("kept", [0, 4, 8, 40, -1])
def test_weights_that_were_cut_short_are_refused(tmp_path: Path, kept: int) -> None:
    file = write(tmp_path / "a") / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(EngineBroken, match="cut short"):
        read("planner", str(tmp_path / "a"))


def test_a_header_may_not_lie(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    for lie in ({"data_offsets": [8, 0]}, {"data_offsets": [0]}, {"shape": "x"}):
        told = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | lie
        header = str({"t": told}).replace("'", '"').encode()
        file.write_bytes(len(header).to_bytes(8, "little") + header + b"12345678")
        with pytest.raises(EngineBroken, match="cannot be read"):
            safetensors_header(file)


def test_the_base_that_the_card_names_must_be_the_one_served(tmp_path: Path) -> None:
    base, other = tmp_path / "base.gguf", tmp_path / "other.gguf"
    base.write_bytes(b"one")
    other.write_bytes(b"two")
    card = {"base": "package:llm", "base_fingerprint": model_digest(base)}
    folders = {"planner": str(write(tmp_path / "a", card=card))}
    assert [one.agent for one in read_all(folders, base)] == ["planner"]
    with pytest.raises(EngineBroken, match=r"made for the base 'package:llm' with 3 bytes.*other"):
        read_all(folders, other)
    # what a hub holds is not known here
    assert len(read_all(folders, "some/model-of-a-hub")) == 1


def test_without_a_card_the_shapes_tell(tmp_path: Path) -> None:
    adapter = read("planner", str(write(tmp_path / "a")))
    require_shapes(adapter, {Q_PROJ: (6, 8)}, "here")
    with pytest.raises(EngineBroken, match=r"q_proj is 6 x 8, and here has 8 x 8; name the model"):
        require_shapes(adapter, {Q_PROJ: (8, 8)}, "here")
    with pytest.raises(EngineBroken, match="here has no such layer"):
        require_shapes(adapter, {}, "here")


def test_a_folder_s_shapes_are_those_of_all_its_files(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        weights = safetensors({f"{name}.weight": np.zeros((2, number + 3), "f4")})
        (tmp_path / f"model-{number}.safetensors").write_bytes(weights)
    assert folder_shapes(tmp_path) == {"a": (2, 3), "b": (2, 4)}
    assert folder_shapes(tmp_path / "nowhere") == {}


def test_a_request_may_name_what_there_is_or_nothing() -> None:
    require_known("", {})
    require_known("planner", {"planner": "/a"})
    with pytest.raises(BadRequest, match="no adapter for 'planner'; there are: none"):
        require_known("planner", {})
