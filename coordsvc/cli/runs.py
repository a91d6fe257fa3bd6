"""Services that this user has running on this machine, each remembered in a small file."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from coordsvc.core.errors import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A service started by `coordsvc up`."""

    pid: int
    app: str
    url: str
    direct_url: str
    metrics_url: str
    ray_address: str


def folder() -> Path:
    """Return where runs are remembered; COORDSVC_STATE_DIR moves it."""
    named = os.environ.get("COORDSVC_STATE_DIR")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "coordsvc" / "runs"


def remember(run: Run) -> Path:
    """Write down a run; return its file."""
    folder().mkdir(parents=True, exist_ok=True)
    path = folder() / f"{run.pid}.json"
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(run)), encoding="utf-8")
    return draft.replace(path)  # whole or not at all: somebody may be reading


def forget(pid: int) -> None:
    """Strike out a run; one that is not there is fine."""
    (folder() / f"{pid}.json").unlink(missing_ok=True)


def alive() -> list[Run]:
    """Return the runs whose process lives; the files of others are removed."""
    found: list[Run] = []
    for path in sorted(folder().glob("*.json")):
        if (run := _read(path)) is None:
            continue
        if _lives(run.pid):
            found.append(run)
        else:
            path.unlink(missing_ok=True)
    return found


def the_one(pid: int | None) -> Run:
    """Return the run with `pid`, or the only one; raise `BadRequest` where that is not clear."""
    runs = alive()
    if pid is not None:
        runs = [run for run in runs if run.pid == pid]
    if not runs:
        raise BadRequest("no service of yours is running here; `coordsvc up` starts one")
    if len(runs) > 1:
        listed = ", ".join(f"--pid {run.pid} ({run.url})" for run in runs)
        raise BadRequest(f"several services are running: say which with {listed}")
    return runs[0]


def _read(path: Path) -> Run | None:
    """Return the run in a file; None for what this version of the program has not written."""
    try:
        run = Run(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return run if isinstance(run.pid, int) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
