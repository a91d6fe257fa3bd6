"""The loss trace: one JSON object a line, one line a step, a file of its own for each agent.

Line 0 is the look at the held-out samples before the first step. A kill may cut the last line
short; whoever goes on cuts all that lies behind its checkpoint, and writes those steps again.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from coordsvc.core.errors import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLine:
    """What one optimizer step did."""

    step: int
    """Steps done, this one included."""
    epoch: float
    """How often all samples have been seen."""
    loss: float | None
    """Mean over the step's target tokens, before the step, in nats; None before the first."""
    learning_rate: float
    tokens: int
    """Target tokens that the loss is the mean of."""
    seconds: float
    """What the step took, the look at the held-out samples included."""
    held_out: float | None
    """Mean loss over the held-out samples' target tokens, where it was looked at."""


def read(path: Path) -> list[TraceLine]:
    """Return the whole lines of a trace; a last one cut short is left out.

    Raises `BadRequest` naming the line that is no line of a trace.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadRequest(f"{path}: the loss trace cannot be read ({error})") from error
    whole = text[: text.rfind("\n") + 1]
    return [_line(path, number, line) for number, line in enumerate(whole.splitlines(), start=1)]


def append(path: Path, line: TraceLine) -> None:
    """Add a line. It survives a kill of this process, though perhaps not one of the machine."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_text(line))


def settle(path: Path) -> None:
    """Have the disk take all lines so far, before a checkpoint counts on them."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def cut(path: Path, step: int) -> list[TraceLine]:
    """Leave the lines up to `step` only, and return them.

    Raises `BadRequest` if they are not exactly the steps 0 to `step`: the trace is of something
    else, or was cut by hand.
    """
    kept = [line for line in read(path) if line.step <= step]
    if [line.step for line in kept] != list(range(step + 1)):
        raise BadRequest(
            f"{path}: the checkpoint is of step {step}, but the trace does not tell of the steps "
            f"0 to {step}, once each; both are of one training, or it cannot be gone on with"
        )
    _replace(path, kept)
    return kept


def _replace(path: Path, lines: Iterable[TraceLine]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text("".join(_text(line) for line in lines), encoding="utf-8")
    draft.replace(path)


def _text(line: TraceLine) -> str:
    return json.dumps(asdict(line), allow_nan=False) + "\n"


def _line(path: Path, number: int, text: str) -> TraceLine:
    try:
        return TraceLine(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"{path}, line {number}: is no line of a loss trace ({error})") from None
