"""Checkpoints: whole or not there, and of this training only."""

import json

import pytest

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.training import checkpoints
from coordsvc.training.checkpoints import Checkpoint

OURS = {"agent": "planner", "base": "b1", "data": "d1", "recipe": {"batch": 2, "targets": ["q"]}}


def checkpoint(step: int, **files: bytes) -> Checkpoint:
    return Checkpoint(
        step=step,
        identity=OURS,
        progress={"best": 1.5},
        files=files or {"adapter": b"weights" * step, "state": b"s"},
    )


def test_the_last_one_comes_back_whole(tmp_path) -> None:
    for step in (9, 10):
        checkpoints.write(tmp_path / "kept", checkpoint(step))
    assert checkpoints.last(tmp_path / "kept", OURS) == checkpoint(10)


def test_no_checkpoint_is_none(tmp_path) -> None:
    assert checkpoints.last(tmp_path / "kept", OURS) is None


def test_the_last_two_stay(tmp_path) -> None:
    for step in range(0, 50, 10):
        checkpoints.write(tmp_path, checkpoint(step))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["step-00000030", "step-00000040"]


def test_one_that_was_being_written_when_the_process_died_does_not_count(tmp_path) -> None:
    checkpoints.write(tmp_path, checkpoint(2))
    half = tmp_path / ".step-00000004.draft"
    half.mkdir()
    (half / "adapter").write_bytes(b"wei")
    assert checkpoints.last(tmp_path, OURS) == checkpoint(2)
    checkpoints.write(tmp_path, checkpoint(4))
    assert checkpoints.last(tmp_path, OURS) == checkpoint(4)
    assert not half.exists()


def test_the_same_step_twice_is_the_second_one(tmp_path) -> None:
    checkpoints.write(tmp_path, checkpoint(2, adapter=b"first"))
    checkpoints.write(tmp_path, checkpoint(2, adapter=b"second"))
    assert checkpoints.last(tmp_path, OURS) == checkpoint(2, adapter=b"second")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda place: (place / "adapter").write_bytes(b"weig"), "has 4 bytes of 14: it was cut"),
        (lambda place: (place / "adapter").write_bytes(b"WEIGHTSweights"), "is not what was"),
        (lambda place: (place / "state").unlink(), "state cannot be read"),
        (lambda place: (place / "checkpoint.json").write_text("{"), "checkpoint.json cannot"),
        (lambda place: (place / "checkpoint.json").unlink(), "checkpoint.json cannot be read"),
    ],
)
def test_damage_is_seen_and_the_one_before_it_can_be_gone_on_from(tmp_path, harm, said) -> None:
    checkpoints.write(tmp_path, checkpoint(1))
    place = checkpoints.write(tmp_path, checkpoint(2))
    harm(place)
    with pytest.raises(BadRequest, match=said) as error:
        checkpoints.last(tmp_path, OURS)
    assert f"{place}: the checkpoint is damaged" in str(error.value)
    place.rename(tmp_path / "set-aside")
    assert checkpoints.last(tmp_path, OURS) == checkpoint(1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent": "checker"}, "agent was 'planner', is 'checker'"),
        ({"base": "b2"}, "base was 'b1', is 'b2'"),
        ({"data": "d2"}, "data was 'd1', is 'd2'"),
        ({"recipe": {"batch": 4, "targets": ["q"]}}, r"training: recipe.batch was 2, is 4\. Go on"),
    ],
)
def test_another_trainings_checkpoint_is_refused_by_what_differs(tmp_path, changes, said) -> None:
    checkpoints.write(tmp_path, checkpoint(2))
    with pytest.raises(BadRequest, match=said):
        checkpoints.last(tmp_path, {**OURS, **changes})


def test_a_tuple_in_a_recipe_is_the_list_that_it_became(tmp_path) -> None:
    checkpoints.write(tmp_path, checkpoint(2))
    recipe = {"batch": 2, "targets": ("q",)}
    assert checkpoints.last(tmp_path, {**OURS, "recipe": recipe}) is not None


def test_another_format_is_not_guessed_at(tmp_path) -> None:
    place = checkpoints.write(tmp_path, checkpoint(2))
    card = json.loads((place / "checkpoint.json").read_text())
    (place / "checkpoint.json").write_text(json.dumps({**card, "format": 9}))
    with pytest.raises(BadRequest, match="is of format 9; 1 is right"):
        checkpoints.last(tmp_path, OURS)


def test_a_place_that_cannot_be_written_is_named_and_the_earlier_ones_stay(tmp_path) -> None:
    checkpoints.write(tmp_path, checkpoint(1))
    (tmp_path / ".step-00000002.draft").write_text("a file where the folder would be")
    with pytest.raises(EngineBroken, match="step-00000002: the checkpoint cannot be written"):
        checkpoints.write(tmp_path, checkpoint(2))
    assert checkpoints.last(tmp_path, OURS) == checkpoint(1)
