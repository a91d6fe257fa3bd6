"""Reads the files of a decision log, in order."""

from collections.abc import Iterator
from pathlib import Path

from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.decisions import Header, Line, is_cut, read_file
from coordsvc.core.units import Instant

PATTERN = "decisions-*.jsonl"


def files(place: Path) -> list[Path]:
    """Return a log's files, the oldest first; `place` is one of them, or their folder.

    Raises:
        BadRequest: there is none.

    """
    found = sorted(place.glob(PATTERN)) if place.is_dir() else [place]
    if not found or not all(path.is_file() for path in found):
        raise BadRequest(f"{place} is no decision log: neither a file nor a folder of {PATTERN}")
    return found


def lines(path: Path) -> Iterator[Line]:
    """Yield what one file holds; raise `BadRequest` with file and line where it cannot be read."""
    yield from read_file(str(path), _texts(path))


def cut(path: Path) -> bool:
    """Tell whether the file's last line was cut, as by a crash; it is left out."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 1))
        return is_cut(file.read().decode(errors="replace"))


def header(path: Path) -> Header:
    """Return a file's first line."""
    entry = next(lines(path)).entry
    assert isinstance(entry, Header), "read_file sees to it"
    return entry


def began(told: Header) -> Instant:
    """Return the instant of the state that a file begins with, on the allocator's clock."""
    state = told.state
    if not isinstance(state, dict) or type(state.get("now")) is not int:
        raise BadRequest("the header's state has no instant `now`")
    return Instant(state["now"])


def _texts(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                if not raw.endswith(b"\n"):
                    return  # cut within a letter
                raise BadRequest(f"{path}, line {number}: is not UTF-8: {error.reason}") from None
