"""Fine-tuning with the real libraries, on a tiny model: exact through kills, and never in vain."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("peft", reason="the train extra is not installed")
pytest.importorskip("bitsandbytes", reason="the train extra is not installed")

from typer.testing import CliRunner

from coordsvc.cli.train.commands import app
from coordsvc.core.dialogue import CHECKER, RESPONDER
from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.training import adapters
from coordsvc.training.evaluate import compare
from coordsvc.training.learner import Learner
from coordsvc.training.libraries import libraries
from coordsvc.training.origin import load, origin
from coordsvc.training.quantise import quantise
from tests.integration import training_process
from tests.integration.training_process import RECIPE, Dialogues, make_base, training
from tests.unit.training.dialogues import forest, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # the libraries' own, about each other
]
NF4 = RECIPE.model_copy(update={"quantise": "nf4", "dtype": "bfloat16"})


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_base(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory) -> Path:
    """A training that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert in_a_process(base, out, "begin").returncode == 0
    return out


def in_a_process(base, out, how, die_in=0):
    root = Path(training_process.__file__).parents[2]
    name = [sys.executable, "-m", "tests.integration.training_process"]
    return subprocess.run(
        [*name, str(base), str(out), how, str(die_in)], cwd=root, timeout=200, check=False
    )


def told(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    return [{name: what for name, what in line.items() if name != "seconds"} for line in lines]


def samples(base, agent=RESPONDER, recipe=RECIPE, out=Path("nowhere")):
    return training(base, out, agent, recipe).job.train


def test_killed_and_resumed_it_is_as_if_nothing_had_happened(base, trained, tmp_path) -> None:
    out = tmp_path / "run"
    assert in_a_process(base, out, "begin", die_in=5).returncode == -signal.SIGKILL
    assert [line["step"] for line in told(out)] == [0, 1, 2, 3, 4]
    assert not (out / "adapter").exists()
    # killed again, in the first step of its second life
    assert in_a_process(base, out, "resume", die_in=1).returncode == -signal.SIGKILL
    assert in_a_process(base, out, "resume").returncode == 0

    assert told(out) == told(trained)
    assert len(told(out)) == 1 + 12
    weights = [run / "adapter" / "adapter_model.safetensors" for run in (out, trained)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_it_learns_and_the_card_says_what(base, trained) -> None:
    card = adapters.read(trained / "adapter").card
    assert card.fell > 0.05
    assert card.base_fingerprint == origin(str(base)).fingerprint
    assert card.versions["torch"] != "not installed"
    config = json.loads((trained / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)


def test_two_trainings_in_one_process_do_not_disturb_each_other(base, trained, tmp_path) -> None:
    ours = training(base, tmp_path / "ours")
    other = training(base, tmp_path / "other", CHECKER, RECIPE.model_copy(update={"seed": 7}))
    ours.begin()
    other.begin()
    for _ in range(4):
        other.step()
        ours.step()
        libraries().torch.rand(3)  # a stranger that draws, too
    assert told(tmp_path / "ours") == told(trained)[:5]


def test_a_look_silences_dropout_and_changes_nothing(base) -> None:
    learner = Learner(origin(str(base)), RECIPE)
    some = samples(base)
    before = learner.state()
    assert learner.held_out(some) == learner.held_out(some)
    assert learner.state() == before


def test_the_loss_counts_the_targets_tokens_whatever_the_padding(base) -> None:
    learner = Learner(origin(str(base)), RECIPE)
    some = [replace(one, ids=one.ids[: len(one.ids) - cut]) for cut, one in
            enumerate(samples(base)[:4])]  # fmt: skip
    tokens = sum(one.target_tokens for one in some)
    alone = sum(learner.held_out([one]) * one.target_tokens for one in some) / tokens
    assert learner.held_out(some) == pytest.approx(alone, rel=1e-5)


def test_no_gradient_is_an_error_at_once(base) -> None:
    learner = Learner(origin(str(base)), RECIPE)
    for one in learner._weights:
        one.register_hook(lambda gradient: gradient * 0)
    with pytest.raises(EngineBroken, match="no gradient reaches 14 of 14 layers"):
        learner.step([samples(base)[:2]], 1e-3)


def test_an_nf4_base_learns_after_a_look_at_held_out_samples(base) -> None:
    learner = Learner(origin(str(base)), NF4)
    some = samples(base)[:4]
    before = learner.held_out(some)
    for _ in range(4):
        learner.step([some], 1e-2)
        learner.held_out(some)
    assert learner.held_out(some) < before


def test_an_nf4_base_used_in_evaluation_mode_is_found_out(base) -> None:
    learner = Learner(origin(str(base)), NF4)
    some = samples(base)[:4]
    if not _repacks(learner):
        pytest.skip("needs hardware: avx512_bf16, where bitsandbytes repacks weights")
    learner._model.eval()
    learner.held_out(some)
    learner._model.train()
    with pytest.raises(EngineBroken, match="evaluation mode: load it anew, or train with"):
        learner.step([some], 1e-2)


def _repacks(learner) -> bool:
    return any(
        getattr(one, "support_avx512bf16_for_cpu", False) for one in learner._model.modules()
    )


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_where_memory_ends_it_says_what_to_lower(base, error) -> None:
    learner = Learner(origin(str(base)), RECIPE)

    def ends(*_):
        raise error

    for one in learner._model.modules():
        one.register_forward_pre_hook(ends)
    with pytest.raises(EngineBroken, match=r"lower batch .*The last checkpoint is kept"):
        learner.step([samples(base)[:2]], 1e-3)


def test_a_rate_that_throws_it_off_is_told(base) -> None:
    learner = Learner(origin(str(base)), RECIPE)
    some = samples(base)[:2]
    learner.step([some], 1e30)
    with pytest.raises(EngineBroken, match=r"diverged.*lower the learning rate"):
        learner.step([some], 1e30)


def test_layers_that_the_base_lacks_are_named(base) -> None:
    recipe = RECIPE.model_copy(update={"targets": ("c_attn",)})
    with pytest.raises(EngineBroken, match="no layers named c_attn"):
        Learner(origin(str(base)), recipe)


def test_a_base_that_is_not_there_is_told(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineBroken, match="cannot be loaded"):
        Learner(origin(str(tmp_path / "empty")), RECIPE)


def test_merged_weights_say_what_the_adapter_says(base, trained, tmp_path) -> None:
    lib = libraries()
    found, model = adapters.read(trained / "adapter"), origin(str(base))
    merged = adapters.merge(found, model, tmp_path / "merged")
    beside = lib.peft.PeftModel.from_pretrained(load(model.folder), str(found.folder)).eval()
    ids = lib.torch.tensor([samples(base)[0].ids])
    with lib.torch.inference_mode():
        plain, apart, whole = (
            one(input_ids=ids).logits for one in (load(model.folder).eval(), beside, load(merged))
        )
    assert lib.torch.allclose(whole, apart, atol=1e-4)
    assert not lib.torch.allclose(whole, plain, atol=1e-1)
    assert (merged / "tokenizer.json").exists()
    with pytest.raises(BadRequest, match="is there already"):
        adapters.merge(found, model, tmp_path / "merged")


def test_evaluation_finds_what_the_card_says(base, trained) -> None:
    found = adapters.read(trained / "adapter")
    seen = compare(found, Dialogues(), origin(str(base)), most=RECIPE.held_out_max, beside=2)
    assert seen.base.held_out == pytest.approx(found.card.held_out_before, rel=1e-4)
    assert seen.adapter.held_out == pytest.approx(found.card.held_out_after, rel=1e-4)
    assert seen.fell == pytest.approx(found.card.fell, rel=1e-3)
    assert len(seen.beside) == 2
    assert seen.beside[0].base != seen.beside[0].adapter
    assert json.loads(json.dumps(seen.as_json()))["agent"] == "responder"


def test_a_checkers_judgement_is_counted(base, tmp_path) -> None:
    one = training(base, tmp_path / "run", CHECKER)
    one.begin()
    while not one.done:
        one.step()
    seen = compare(adapters.read(one.finish()), Dialogues(), origin(str(base)), most=8, beside=0)
    assert seen.base.balanced_accuracy is not None
    assert 0 <= seen.adapter.balanced_accuracy <= 1


@pytest.mark.parametrize("to", ["nf4", "int8"])
def test_quantised_it_is_smaller_and_can_be_loaded(base, to, tmp_path) -> None:
    told_of = quantise(origin(str(base)), to, None, tmp_path / "packed")
    assert told_of.after.memory_bytes < told_of.before.memory_bytes
    assert told_of.after.disk_bytes < told_of.before.disk_bytes
    assert told_of.after.perplexity == pytest.approx(told_of.before.perplexity, rel=0.2)
    again = libraries().transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    assert again.get_memory_footprint() == told_of.after.memory_bytes
    with pytest.raises(BadRequest, match="is there already"):
        quantise(origin(str(base)), to, None, tmp_path / "packed")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Samples of twelve small trees, as `train prepare` makes them."""
    place = tmp_path_factory.mktemp("data")
    file = write(place / "some.jsonl", forest(12))
    done = typed("prepare", "--dataset", file, "--out", place / "samples", "--held-out", 0.25)
    assert done.exit_code == 0, done.output
    return place / "samples"


def typed(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_commands_in_a_row(base, prepared, tmp_path) -> None:
    tiny = ("--preset", "tiny", "--set", "sequence_tokens_max=1024", "--set", "steps_max=4")
    what = ("--agent", "checker", "--data", prepared, "--base", base, *tiny)
    first = typed("finetune", *what, "--out", tmp_path / "run", "--json")
    assert first.exit_code == 0, first.output
    card = json.loads(first.stdout)
    assert card["agent"] == "checker"
    assert card["steps_done"] == 4
    assert len(told(tmp_path / "run")) == 5

    # done already: going on finds nothing to do, and says the same
    again = typed("finetune", *what, "--out", tmp_path / "run", "--resume", "--json")
    assert json.loads(again.stdout) == card

    which = (
        "--adapter",
        tmp_path / "run" / "adapter",
        "--data",
        prepared,
        "--most",
        4,
        "--beside",
        1,
    )
    seen = json.loads(typed("evaluate", *which, "--json").stdout)
    assert seen["adapter"]["held_out"] == pytest.approx(card["held_out_after"], rel=0.05)
    assert len(seen["beside"]) == 1
    assert "4 held-out samples" in typed("evaluate", *which).stdout

    packed = json.loads(typed("quantise", base, "--to", "int8", "--json").stdout)
    assert packed["after"]["memory_bytes"] < packed["before"]["memory_bytes"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "critic"), "no agent 'critic'"),
        (("--agent", "planner", "--set", "batch=0"), "batch: .*greater than or equal to 1"),
        (("--agent", "planner", "--device", "cuda:7"), "device 'cuda:7' is not here"),
        (
            ("--agent", "planner", "--set", "sequence_tokens_max=16"),
            "no samples of planner.*too_long",
        ),
    ],
)
def test_what_cannot_be_trained_is_told_before_work_starts(
    base, prepared, tmp_path, words, said
) -> None:
    done = typed("finetune", "--data", prepared, "--base", base, "--out", tmp_path / "run", *words)
    assert isinstance(done.exception, BadRequest)
    assert re.search(said, str(done.exception))
    assert not (tmp_path / "run").exists()
