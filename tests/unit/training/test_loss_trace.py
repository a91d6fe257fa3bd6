"""The loss trace, through kills and by strangers' hands."""

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.training import loss_trace
from coordsvc.training.loss_trace import TraceLine


def line(step: int) -> TraceLine:
    return TraceLine(
        step=step,
        epoch=step / 10,
        loss=None if step == 0 else 3.0 - step / 7,
        learning_rate=1e-3,
        tokens=40,
        seconds=0.5,
        held_out=2.0 if step % 2 == 0 else None,
    )


def written(path, steps) -> None:
    for step in steps:
        loss_trace.append(path, line(step))


def test_lines_come_back_as_they_went(tmp_path) -> None:
    path = tmp_path / "trace.jsonl"
    written(path, range(4))
    loss_trace.settle(path)
    assert loss_trace.read(path) == [line(step) for step in range(4)]


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path) -> None:
    path = tmp_path / "trace.jsonl"
    written(path, range(3))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "epo')
    assert loss_trace.read(path) == [line(0), line(1), line(2)]


def test_what_lies_behind_the_checkpoint_is_cut(tmp_path) -> None:
    path = tmp_path / "trace.jsonl"
    written(path, range(6))
    assert loss_trace.cut(path, 3) == [line(step) for step in range(4)]
    assert loss_trace.read(path) == [line(step) for step in range(4)]
    assert [one.name for one in tmp_path.iterdir()] == ["trace.jsonl"]


@pytest.mark.parametrize("steps", [[0, 1], [0, 2, 3], [0, 1, 1, 2, 3], []])
def test_a_trace_that_does_not_tell_of_the_checkpoints_steps_is_refused(tmp_path, steps) -> None:
    path = tmp_path / "trace.jsonl"
    path.touch()
    written(path, steps)
    with pytest.raises(BadRequest, match="checkpoint is of step 3"):
        loss_trace.cut(path, 3)


def test_a_line_that_is_none_is_named(tmp_path) -> None:
    path = tmp_path / "trace.jsonl"
    written(path, range(2))
    with path.open("a", encoding="utf-8") as file:
        file.write("hello\n")
    with pytest.raises(BadRequest, match="line 3: is no line of a loss trace"):
        loss_trace.read(path)
    with pytest.raises(BadRequest, match="cannot be read"):
        loss_trace.read(tmp_path / "elsewhere.jsonl")
