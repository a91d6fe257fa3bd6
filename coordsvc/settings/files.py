"""Files that settings name and that hold secrets: that it is a name, and whether one changed."""

import re
from pathlib import Path

Stamp = tuple[int, int, int]
"""What changes when a file does: when it was changed, its size, which file it is."""

_A_KEY = re.compile(r"(sha256:|ck-).*|[A-Za-z0-9_+=-]{24,}", re.DOTALL)
"""What keys look like, and names of files hardly: no slash, no dot, and long."""


def refuse_secret(field: str, said: str | None) -> None:
    """Raise `ValueError` if a setting holds a key where a file's name belongs; never repeat it."""
    if said is not None and _A_KEY.fullmatch(said):
        raise ValueError(
            f"{field} names a file, and this looks like a key: whoever sees the configuration "
            "would have it; put the key into a file"
        )


def stamp_of(path: Path) -> Stamp | None:
    """Return what changes when the file does; None if it cannot be looked at."""
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino
