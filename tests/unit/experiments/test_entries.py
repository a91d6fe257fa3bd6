"""The studies there are, and what a run of one is told."""

from pathlib import Path

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries
from tests.unit.experiments.tiny import Tiny, catalogue, plan, tiny


@pytest.fixture
def only_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "FOLDER", str(catalogue(tmp_path / "catalogue")))


def test_a_file_of_the_catalogue_is_a_study(only_tiny: None) -> None:
    assert entries.names() == ["tiny"]
    assert entries.entry("tiny") == tiny()
    assert entries.entry("tiny").make().name == "tiny"


def test_a_study_that_is_not_there_is_refused_with_those_that_are(only_tiny: None) -> None:
    with pytest.raises(BadRequest, match=r"no study 'tini'; did you mean tiny\?"):
        entries.entry("tini")
    with pytest.raises(BadRequest, match=r"no study '\.\./secrets'; there are tiny"):
        entries.entry("../secrets")


@pytest.mark.parametrize("name", entries.names())
def test_the_catalogue_says_of_each_study_what_its_reader_must_know(name: str) -> None:
    found = entries.entry(name)
    assert found.title
    assert found.question.endswith("?")
    assert found.measured
    assert found.real or found.emulated or found.simulated
    assert found.columns
    assert found.presets.keys() >= {"full", "laptop", "test"}
    for preset in found.presets:
        assert entries.plan(found, preset).seeds


def test_a_plan_is_the_study_s_own_the_preset_s_over_it_and_what_was_asked_last() -> None:
    own = tiny(gpus=(2,), presets={"test": {"turns": 2, "gpus": [4], "seeds": [7]}, "full": {}})
    assert plan(own, "full").parameters == {"turns": 4, "loads": ["low", "high"]}
    assert (plan(own, "full").seeds, plan(own, "full").gpus) == ((1, 2, 3), (2,))
    assert plan(own).parameters == {"turns": 2, "loads": ["low", "high"]}
    assert (plan(own).seeds, plan(own).gpus) == ((7,), (4,))
    asked = plan(own, seeds=(8, 9), gpus=(6,))
    assert (asked.seeds, asked.gpus) == ((8, 9), (6,))
    assert own.presets["test"] == {"turns": 2, "gpus": [4], "seeds": [7]}, "nothing is taken out"


def test_the_first_engine_is_the_study_s_own() -> None:
    own = tiny(engines=("emulated", "openvino"))
    assert plan(own).engine == "emulated"
    assert plan(own, engine="openvino").engine == "openvino"
    assert plan(tiny()).engine is None


@pytest.mark.parametrize(
    ("entry", "asked", "why"),
    [
        (tiny(), {"preset": "huge"}, "tiny has no preset 'huge'; there are full, test"),
        (tiny(), {"seeds": (4, 5, 4)}, "seed 4 is named twice"),
        (tiny(), {"seeds": tuple(range(1_001))}, "1001 seeds; 1 to 1000"),
        (tiny(seeds=(1, 1)), {}, "seed 1 is named twice"),
        (tiny(), {"gpus": (2,)}, "no choice of accelerators; leave --gpus out"),
        (tiny(gpus=(2,)), {"gpus": (0, 2)}, "at least 1"),
        (tiny(gpus=(2,)), {"gpus": (2, 2)}, "each size once"),
        (tiny(), {"engine": "vllm"}, "cannot be run with engine 'vllm'; it can with none"),
        (tiny(engines=("emulated",)), {"engine": "vllm"}, "it can with emulated"),
        (
            tiny(presets={"test": {"truns": 2}}),
            {},
            "preset test sets truns, which is no parameter",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused(entry, asked: dict, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        plan(entry, **asked)


def test_numbers_are_told_as_people_type_them() -> None:
    assert entries.numbers("7", "--seeds") == (7,)
    assert entries.numbers("101, 202,303", "--seeds") == (101, 202, 303)
    assert entries.numbers("1-3,9,0-1", "--seeds") == (1, 2, 3, 9, 0, 1)
    assert len(entries.numbers("1-1000", "--seeds")) == entries.SEEDS_MAX


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("", "'' is no number; 1,2,5-8 is right"),
        ("1,,2", "'' is no number"),
        ("one", "--seeds one: 'one' is no number"),
        ("1.5", "'1.5' is no number"),
        ("-3", "'-3' is no number"),
        ("1-", "'1-' is no number"),
        ("8-5", "8-5 is no range upwards"),
        ("1-1001", "1-1001 is no range upwards of at most 1000"),
        ("1-99999999999", "at most 1000"),
        ("9223372036854775808", "too large"),
    ],
)
def test_numbers_that_are_none_are_refused_with_what_would_be_right(told: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        entries.numbers(told, "--seeds")


def test_a_study_s_code_is_made_anew_each_time() -> None:
    made, again = tiny().make(), tiny().make()
    assert isinstance(made, Tiny)
    assert made is not again
