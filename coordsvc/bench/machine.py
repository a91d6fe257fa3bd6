"""What a measurement was taken on: no figure of a benchmark means anything without it."""

import os
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from coordsvc.engines.fingerprint import cpu_model

CPU_FACTS = Path("/proc/cpuinfo")


def facts(now: datetime, packages: tuple[str, ...] = ("ray",)) -> dict[str, object]:
    """Return the machine, the day, and the versions of `packages`."""
    cpu = CPU_FACTS.read_text(encoding="utf-8") if CPU_FACTS.exists() else ""
    return {
        "date": now.isoformat(timespec="seconds"),
        "cores": os.cpu_count() or 1,
        "cpu": cpu_model(cpu) or platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
