"""Where a measured C_baseline comes from."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from coordsvc.core.baseline import Baseline
from coordsvc.engines.fingerprint import fingerprint
from coordsvc.engines.settings import EngineSettings
from coordsvc.telemetry.baselines import read


def _absolute(path: str) -> str:
    if not Path(path).expanduser().is_absolute():
        raise ValueError("an absolute path is right: engine replicas work in folders of their own")
    return path


BaselineFile = Annotated[str, Field(min_length=1, max_length=1_024), AfterValidator(_absolute)]
"""A file that `coordsvc calibrate` wrote, as the engine's machine sees it."""


def measured_baseline(file: str | None, engine: EngineSettings) -> Baseline | None:
    """Return the baseline in `file`, or None if none is named; to be asked on the engine's machine.

    Raises:
        BadRequest: the file is missing or damaged, or was made on another machine or engine.

    """
    if file is None:
        return None
    return read(Path(file).expanduser(), fingerprint(engine)).baseline()
