"""From agents and samples to a training, and a training under a node's grants."""

import pytest

from coordsvc.clock import MonotonicClock
from coordsvc.core.dialogue import CHECKER, PLANNER
from coordsvc.core.errors import BadRequest
from coordsvc.core.stretch import Stretch
from coordsvc.training.finetune import Finetune, Job
from coordsvc.training.jobs import AgentTrainee, agent_named
from coordsvc.training.recipe import Recipe
from tests.unit.training.learners import SAMPLES, ScriptedLearner

RECIPE = Recipe(epochs=2, batch=2, accumulation=2, evaluate_every=2, checkpoint_every=100)


def node(folder) -> tuple[AgentTrainee, ScriptedLearner]:
    """One that has the training loaded; all nodes see the same folder."""
    job = Job(
        agent=PLANNER,
        base="b",
        base_fingerprint="b1",
        data_fingerprint="d1",
        recipe=RECIPE,
        train=SAMPLES,
        held_out=SAMPLES[:1],
        folder=folder,
        dropped={},
    )
    learner = ScriptedLearner([3.0, 2.0, 1.5, 1.2])
    return AgentTrainee(Finetune(job, learner, MonotonicClock()), MonotonicClock()), learner


def stretch(begin: int, steps: int) -> Stretch:
    return Stretch(agent=PLANNER, begin=begin, steps=steps)


def never() -> bool:
    return False


def test_agents_are_known_by_name() -> None:
    assert agent_named("checker") == CHECKER
    with pytest.raises(BadRequest, match="no agent 'critic'; right is one of planner, responder"):
        agent_named("critic")


def test_stretches_make_a_whole_training(tmp_path) -> None:
    here, learner = node(tmp_path / "run")
    ends = [here.train(stretch(begin, 4), never) for begin in (0, 4)]
    assert [(end.step, end.done) for end in ends] == [(4, False), (6, True)]
    assert ends[-1].held_out == 1.2
    assert (tmp_path / "run" / "adapter" / "coordsvc.json").exists()
    assert len(learner.seen) == 6


def test_another_node_goes_on_where_the_first_one_stood(tmp_path) -> None:
    here, _ = node(tmp_path / "run")
    there, learner = node(tmp_path / "run")
    alone, whole = node(tmp_path / "alone")
    here.train(stretch(0, 2), never)
    assert there.train(stretch(2, 1), never).step == 3
    assert here.train(stretch(3, 2), never).step == 5
    assert there.train(stretch(5, 2), never).done
    alone.train(stretch(0, 99), never)
    assert learner.seen == whole.seen


def test_asked_to_stop_it_does_so_after_the_step_it_is_at(tmp_path) -> None:
    here, _ = node(tmp_path / "run")
    asked = iter([False, False, True])
    assert here.train(stretch(0, 5), lambda: next(asked)).step == 2
    there, _ = node(tmp_path / "run")
    assert there.train(stretch(2, 1), never).step == 3
