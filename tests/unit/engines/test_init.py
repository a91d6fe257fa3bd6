"""`build` makes the engine asked for, and imports no other's library."""

import subprocess
import sys

import pytest

from coordsvc.core.errors import EngineBroken
from coordsvc.engines import build
from coordsvc.engines.settings import (
    EmulatedSettings,
    OpenVinoSettings,
    ScriptedSettings,
    TransformersSettings,
    VllmSettings,
)

HEAVY = ("openvino", "openvino_genai", "torch", "transformers", "vllm")


@pytest.mark.parametrize("settings", [EmulatedSettings(), ScriptedSettings()])
def test_the_kinds_without_a_model_are_built_where_no_library_is(monkeypatch, settings):
    for name in HEAVY:
        monkeypatch.setitem(sys.modules, name, None)
    assert build(settings).running() == 0


@pytest.mark.parametrize(
    ("settings", "library", "extra"),
    [
        (OpenVinoSettings(), "openvino_genai", "cpu"),
        (TransformersSettings(), "transformers", "transformers"),
        (VllmSettings(), "vllm", "vllm"),
    ],
)
def test_a_missing_library_says_what_to_install(monkeypatch, settings, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(EngineBroken, match=rf"pip install 'coordsvc\[{extra}\]'"):
        build(settings)


@pytest.mark.parametrize(
    ("adapters", "name"), [({}, "OpenVinoEngine"), ({"planner": "/a"}, "ByAgentEngine")]
)
def test_openvino_with_adapters_has_an_engine_for_each(adapters, name):
    pytest.importorskip("openvino_genai", reason="the cpu extra is not installed")
    assert type(build(OpenVinoSettings(adapters=adapters))).__name__ == name


def test_building_a_scripted_engine_loads_no_model_library():
    code = (
        "import sys; from coordsvc.engines import build;"
        "from coordsvc.engines.settings import ScriptedSettings; build(ScriptedSettings());"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
