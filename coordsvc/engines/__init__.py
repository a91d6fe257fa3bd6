"""Engines: what turns messages into text. Each kind is one module behind the port `Engine`.

`build` imports the module of the kind asked for and no other, so no model library is needed for
the kinds that compute nothing.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, cast

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.settings import EngineSettings
from coordsvc.ports import Engine


class _Kind(NamedTuple):
    """How one kind of engine is found."""

    name: str
    library: str | None = None
    extra: str | None = None


_KINDS = {
    "openvino": _Kind("OpenVinoEngine", "openvino_genai", "cpu"),
    "transformers": _Kind("TransformersEngine", "transformers", "transformers"),
    "vllm": _Kind("VllmEngine", "vllm", "vllm"),
    "emulated": _Kind("EmulatedEngine"),
    "scripted": _Kind("ScriptedEngine"),
}


def build(settings: EngineSettings) -> Engine:
    """Return the engine that `settings` describe, not yet started.

    Raises `EngineBroken` naming the extra to install when its library is missing.
    """
    kind = _KINDS[settings.kind]
    if kind.library is not None and find_spec(kind.library) is None:
        msg = (
            f"the engine {settings.kind!r} needs {kind.library}, which is not installed; "
            f"try: pip install 'coordsvc[{kind.extra}]'"
        )
        raise EngineBroken(msg)
    place: str = settings.kind
    name = kind.name
    if settings.kind == "openvino" and settings.adapters:
        place, name = "by_agent", "ByAgentEngine"
    module = import_module(f"coordsvc.engines.{place}")
    return cast("Engine", getattr(module, name)(settings))
