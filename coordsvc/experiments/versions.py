"""What a run was made with: libraries, the machine, the day, the commit if there is one."""

from datetime import datetime
from pathlib import Path
from typing import Any

import coordsvc
from coordsvc.bench.machine import facts

PACKAGES = ("ray", "numpy", "matplotlib", "pyarrow", "ortools", "highspy", "pulp")


def versions(now: datetime) -> dict[str, Any]:
    """Return all of it."""
    return {"coordsvc": coordsvc.__version__, "commit": commit(), **facts(now, PACKAGES)}


def commit(root: Path | None = None) -> str | None:
    """Return the commit of the sources, or None where they are no checkout."""
    git = (root or Path(coordsvc.__file__).parents[1]) / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        named = git / head.removeprefix("ref: ")
        if named.exists():
            return named.read_text(encoding="ascii").strip()
        packed = (git / "packed-refs").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    wanted = head.removeprefix("ref: ")
    return next((line.split()[0] for line in packed if line.endswith(f" {wanted}")), None)
