"""Settings are told apart by `kind`, refuse what they do not know, and have bounds."""

import pytest
from pydantic import TypeAdapter, ValidationError

from coordsvc.engines.settings import (
    EmulatedSettings,
    EngineSettings,
    OpenVinoSettings,
    ScriptedSettings,
    TransformersSettings,
    VllmSettings,
)

ANY = TypeAdapter(EngineSettings)


@pytest.mark.parametrize(
    "kind",
    [OpenVinoSettings, TransformersSettings, VllmSettings, EmulatedSettings, ScriptedSettings],
)
def test_each_kind_is_known_by_its_name_and_survives_a_round_trip(kind):
    settings = kind()
    assert ANY.validate_python(settings.model_dump()) == settings
    assert ANY.validate_json(settings.model_dump_json()) == settings


def test_an_unknown_field_is_named():
    with pytest.raises(ValidationError, match="cache_token"):
        ANY.validate_python({"kind": "openvino", "cache_token": 5})


def test_an_unknown_kind_is_refused_with_those_that_exist():
    with pytest.raises(ValidationError, match=r"openvino.*transformers.*vllm.*emulated.*scripted"):
        ANY.validate_python({"kind": "onnx"})


def test_bounds_are_held_and_settings_are_frozen():
    with pytest.raises(ValidationError, match="batch_max"):
        OpenVinoSettings(batch_max=0)
    with pytest.raises(ValidationError, match="frozen"):
        OpenVinoSettings().batch_max = 3


def test_a_declared_profile_is_the_cores_profile():
    settings = OpenVinoSettings.model_validate(
        {"profile": {"start_us": 5, "prefill_us": 2, "decode_us": 10}}
    )
    assert settings.profile is not None
    assert settings.profile.profile().predict(100, 10) == 305


@pytest.mark.parametrize("kind", ["emulated", "scripted"])
def test_adapters_where_nothing_is_computed_are_an_error_that_says_so(kind):
    with pytest.raises(ValidationError, match=f"{kind}' computes nothing.*choose transformers"):
        ANY.validate_python({"kind": kind, "adapters": {"planner": "/a"}})


@pytest.mark.parametrize("adapters", [{"": "/a"}, {"planner": ""}, {"Planner": "/a"}, ["planner"]])
def test_an_adapter_is_a_folder_under_an_agent_s_name(adapters):
    with pytest.raises(ValidationError, match="adapters"):
        ANY.validate_python({"kind": "openvino", "adapters": adapters})
