"""What an engine's times depend on, fact by fact: machine, model, settings, versions.

A time measured under one fingerprint says nothing about another. Whatever cannot change the time
of a request that runs alone is left out, so that a measurement is not refused for nothing.
"""

import os
import platform
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import coordsvc
from coordsvc.engines.models import find
from coordsvc.engines.settings import (
    EmulatedSettings,
    EngineSettings,
    OpenVinoSettings,
    ScriptedSettings,
    TransformersSettings,
    VllmSettings,
)

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino", "openvino-genai"),
    "transformers": ("torch", "transformers"),
    "vllm": ("torch", "vllm"),
}
"""Whose versions an engine's speed may change with."""
TOLD_APART = frozenset({"kind", "model", "adapters"})
"""Settings that have facts of their own."""
CHANGE_NO_TIME = frozenset({"waiting_max", "stall_ms_max", "calibration_repeats", "profile"})
"""Settings that a request alone on its engine does not feel. A declared profile is only a claim."""
VALUE_CHARS_MAX = 80
"""A longer value is told by its hash."""
PIECES = 64
PIECE_BYTES = 1 << 16
"""Of each file so much is hashed, evenly spread from its first byte to its last: all of 16 GB would
take half a minute."""
KIB_IN_GIB = 1 << 20


def fingerprint(settings: EngineSettings, root: Path = Path("/")) -> dict[str, str]:
    """Return the facts of this machine, and of the engine that `settings` describe on it.

    Raises `EngineBroken` if its model is not there. `root` is where `/proc` and `/sys` are.
    """
    told = settings.model_dump(mode="json", exclude=set(TOLD_APART | CHANGE_NO_TIME))
    return {
        **machine(root),
        "accelerator": _accelerator(settings, root),
        "engine": settings.kind,
        "model": settings.model,
        "model_files": _model_files(settings),
        **_adapters(settings),
        **{f"settings.{name}": _short(value) for name, value in told.items()},
        **{f"version.{name}": _version(name) for name in LIBRARIES.get(settings.kind, ())},
        "version.coordsvc": coordsvc.__version__,
        "version.python": ".".join(platform.python_version_tuple()[:2]),
    }


def machine(root: Path = Path("/")) -> dict[str, str]:
    """Return the processor, how much of it this process may use, and the memory."""
    named = cpu_model(_read(root / "proc/cpuinfo"))
    return {
        "cpu": named or platform.processor() or platform.machine(),
        "cores": str(_cores()),
        "cores_limit": cores_limit(_read(root / "sys/fs/cgroup/cpu.max")),
        "memory_gib": memory_gib(_read(root / "proc/meminfo")),
    }


def _cores() -> int:
    """Return on how many cores this process may run; not every system can say."""
    may = getattr(os, "sched_getaffinity", None)
    return len(may(0)) if may is not None else os.cpu_count() or 1


def cpu_model(cpuinfo: str) -> str:
    """Return the model named in a /proc/cpuinfo, or nothing."""
    return _value_of(cpuinfo, "model name")


def cores_limit(cpu_max: str) -> str:
    """Return the cores that a control group's `cpu.max` allows: a container's limit, or none."""
    quota, _, period = cpu_max.strip().partition(" ")
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return "none"
    return f"{int(quota) / int(period):g}"


def memory_gib(meminfo: str) -> str:
    """Return the memory of a /proc/meminfo in whole GiB; kernels differ in the rest."""
    amount, _, unit = _value_of(meminfo, "MemTotal").partition(" ")
    return str(round(int(amount) / KIB_IN_GIB)) if amount.isdigit() and unit == "kB" else "unknown"


def model_digest(path: Path) -> str:
    """Return the size and a hash of a model's files; of each file, pieces all through it."""
    top = path if path.is_dir() else path.parent
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    digest, total = sha256(), 0
    for file in files:
        size = file.stat().st_size
        total += size
        digest.update(f"{file.relative_to(top)}\0{size}\0".encode())
        with file.open("rb") as opened:
            last = max(0, size - PIECE_BYTES)
            for start in sorted({last * piece // (PIECES - 1) for piece in range(PIECES)}):
                opened.seek(start)
                digest.update(opened.read(PIECE_BYTES))
    return f"{total} bytes, sha256 {digest.hexdigest()[:16]}"


def _model_files(settings: EngineSettings) -> str:
    match settings:
        case EmulatedSettings() | ScriptedSettings():
            return "none"
        case OpenVinoSettings() | TransformersSettings() | VllmSettings():
            found = find(settings.model, hub=settings.kind != "openvino")
            return model_digest(found) if isinstance(found, Path) else "of the hub"


def _adapters(settings: EngineSettings) -> dict[str, str]:
    """Return each adapter's files; nothing for an engine without."""
    match settings:
        case EmulatedSettings() | ScriptedSettings():
            return {}
        case OpenVinoSettings() | TransformersSettings() | VllmSettings():
            return {
                f"adapter.{agent}": model_digest(Path(folder).expanduser())
                for agent, folder in sorted(settings.adapters.items())
            }


def _accelerator(settings: EngineSettings, root: Path) -> str:
    match settings:
        case EmulatedSettings() | ScriptedSettings():
            return "none"
        case TransformersSettings(device="cpu"):
            return "none"
        case OpenVinoSettings():
            return "none" if settings.device == "CPU" else settings.device
        case TransformersSettings() | VllmSettings():
            return _gpus(root)


def _gpus(root: Path) -> str:
    """Return the models of NVIDIA's GPUs here, as their driver names them."""
    told = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return ", ".join(_value_of(_read(path), "Model") for path in told) or "none"


def _value_of(text: str, name: str) -> str:
    """Return what stands behind the first `name:` of a file of such lines, or nothing."""
    for line in text.splitlines():
        found, _, value = line.partition(":")
        if found.strip() == name:
            return value.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _short(value: object) -> str:
    text = "default" if value is None else str(value)
    if len(text) <= VALUE_CHARS_MAX:
        return text
    return f"sha256 {sha256(text.encode()).hexdigest()[:16]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
