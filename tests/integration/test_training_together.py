"""Two agents train together under grants, on a real Ray: to the bit as if each were alone."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("peft", reason="the train extra is not installed")

from ray import serve
from typer.testing import CliRunner

from coordsvc.cli.train.commands import app
from coordsvc.core.dialogue import PLANNER, RESPONDER
from coordsvc.core.errors import BadRequest
from coordsvc.serving.actors import stop_actors
from coordsvc.serving.training_app import APP, TrainingPool, compose, train
from coordsvc.settings.metrics import MetricsSettings
from coordsvc.training.finetune import FINISHED, TRACE
from coordsvc.training.prepared import Options, prepare
from coordsvc.training.recipe import Recipe
from coordsvc.training.sources import find
from coordsvc.training.travelling import Travelling
from tests.integration.apps import Services
from tests.integration.training_process import make_base
from tests.unit.training.dialogues import forest, write

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # the libraries' own, about each other
]
RECIPE = Recipe(
    steps_max=6,
    learning_rate=1e-2,
    batch=2,
    accumulation=1,
    sequence_tokens_max=224,
    rank=4,
    alpha=8,
    dropout=0.2,  # so that chance matters
    quantise="none",
    dtype="float32",
    evaluate_every=3,
    held_out_max=2,
    checkpoint_every=100,
)
BOTH = (PLANNER, RESPONDER)


@pytest.fixture
def pool(services: Services) -> Iterator[TrainingPool]:
    del services  # its Ray
    yield TrainingPool(nodes=2, on_gpu=False, stretch_steps=2, metrics=MetricsSettings(port=0))
    serve.delete(APP)
    stop_actors(APP)


@pytest.fixture
def travelling(tmp_path: Path) -> Travelling:
    """What a node is given; its folder is below, a sibling's beside it."""
    source = find(str(write(tmp_path / "some.jsonl", forest(12))), None, skip_bad=False)
    prepared, _ = prepare(source, Options(held_out=0.25), tmp_path / "data", lambda _: None)
    return Travelling(
        data=prepared.folder,
        base=str(make_base(tmp_path / "base")),
        recipe=RECIPE,
        folder=tmp_path / "together",
        device="cpu",
        threads=1,
    )


def trace(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / TRACE).read_text().splitlines()]
    return [{name: what for name, what in line.items() if name != "seconds"} for line in lines]


def weights(folder: Path) -> bytes:
    return (folder / FINISHED / "adapter_model.safetensors").read_bytes()


async def under_grants(pool: TrainingPool, travelling: Travelling) -> dict[str, list[int]]:
    nodes = await asyncio.to_thread(
        serve.run, compose(pool, travelling), name=APP, route_prefix=None
    )
    steps: dict[str, list[int]] = {agent: [] for agent in BOTH}
    async with aclosing(train(pool, nodes, dict.fromkeys(BOTH, 0))) as told:
        async for stretched in told:
            steps[stretched.agent].append(stretched.step)
    return steps


async def test_two_agents_learn_under_grants_what_each_would_learn_alone(
    pool: TrainingPool, travelling: Travelling, tmp_path: Path
) -> None:
    steps = await under_grants(pool, travelling)
    assert steps == {PLANNER: [2, 4, 6], RESPONDER: [2, 4, 6]}
    alone = Travelling(
        data=travelling.data,
        base=travelling.base,
        recipe=RECIPE,
        folder=tmp_path / "alone",
        device="cpu",
        threads=1,
    )
    for agent in BOTH:
        training = alone(agent).training
        training.begin()
        while not training.done:
            training.step()
        training.finish()
        assert trace(travelling.place(agent)) == trace(alone.place(agent)), agent
        assert weights(travelling.place(agent)) == weights(alone.place(agent)), agent


# What is wrong is said before anything starts


def run(*options: object) -> str:
    """Return the error that the command ends with."""
    told = CliRunner().invoke(app, [str(one) for one in options])
    assert isinstance(told.exception, BadRequest), told.output
    return str(told.exception)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--agent", "poet"), "there is no agent 'poet'"),
        (("--agent", "planner", "--agent", "planner"), "each is trained once"),
        (("--accelerators", "4096"), "--accelerators 4096: there are"),
        (("--set", "rank"), "a name, an equals sign and a value"),
        (("--set", "rank=many"), "rank: .*valid integer"),
        (("--set", "rang=8"), "rang: Extra inputs"),
    ],
)
def test_options_of_together_that_cannot_be(
    travelling: Travelling, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    told = run("together", "--data", travelling.data, "--out", tmp_path / "out", *options)
    assert re.search(says, told)
    assert not (tmp_path / "out").exists()


def test_samples_that_are_not_there_and_a_training_that_is(
    travelling: Travelling, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out")
    assert "holds no samples" in run("together", "--data", tmp_path / "nowhere", *out)
    (tmp_path / "out" / "planner" / "checkpoints").mkdir(parents=True)
    assert "add --resume to go on" in run("together", "--data", travelling.data, *out)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--adapter", "planner"), "an agent and a folder"),
        (("--adapter", "poet=x"), "there is no agent 'poet'"),
        (("--adapter", "planner=nowhere"), "nowhere"),
    ],
)
def test_options_of_prompts_that_cannot_be(
    travelling: Travelling, options: tuple[str, ...], says: str
) -> None:
    assert says in run("prompts", "--data", travelling.data, *options)
