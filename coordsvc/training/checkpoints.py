"""Checkpoints: all that a training needs to go on as if nothing had happened.

Rules. A checkpoint is a folder, written beside its place and renamed, so it is whole or not there;
its card names each file's size and hash, so damage done later is seen. The last two are kept. Which
training it is of stands in the card, and another one's is refused by name of what differs.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from coordsvc.core.errors import BadRequest, EngineBroken

KEPT = 2
"""Checkpoints that stay; the one before the last is for when the last is damaged."""
CARD = "checkpoint.json"
FORMAT = 1
"""Of the card and the files; another one is not read."""
_PREFIX = "step-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a training stands."""

    step: int
    identity: Mapping[str, Any]
    """What it is of: agent, base, data, recipe. All must be the same to go on."""
    progress: Mapping[str, Any]
    """What else the training must remember; JSON."""
    files: Mapping[str, bytes]


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and forget those before the last two; return its folder.

    Raises `EngineBroken` if the disk does not take it; the earlier ones are still there then.
    """
    place = folder / f"{_PREFIX}{checkpoint.step:08d}"
    draft = folder / f".{place.name}.draft"
    card = {
        "format": FORMAT,
        "step": checkpoint.step,
        "identity": checkpoint.identity,
        "progress": checkpoint.progress,
        "files": {name: _proof(data) for name, data in checkpoint.files.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for name, data in checkpoint.files.items():
            _settled(draft / name, data)
        _settled(draft / CARD, json.dumps(card, indent=1).encode())
        if place.exists():
            shutil.rmtree(place)
        draft.replace(place)
        for old in _all(folder)[:-KEPT]:
            shutil.rmtree(old)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise EngineBroken(f"{place}: the checkpoint cannot be written ({error})") from error
    return place


def last(folder: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """Return the last checkpoint of this training, or None if there is none.

    Raises `BadRequest` if it is damaged, or of another training.
    """
    found = _all(folder)
    if not found:
        return None
    card = _card(found[-1])
    _require_same(found[-1], card["identity"], identity)
    files = {name: _checked(found[-1] / name, proof) for name, proof in card["files"].items()}
    return Checkpoint(
        step=card["step"], identity=card["identity"], progress=card["progress"], files=files
    )


def stands_at(folder: Path) -> int:
    """Return the step of the last checkpoint, unread; 0 where there is none."""
    found = _all(folder)
    return int(found[-1].name.removeprefix(_PREFIX)) if found else 0


def _all(folder: Path) -> list[Path]:
    """Return the folders of checkpoints, the earliest first."""
    return sorted(one for one in folder.glob(f"{_PREFIX}*") if one.is_dir())


def _settled(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _proof(data: bytes) -> dict[str, int | str]:
    return {"bytes": len(data), "sha256": sha256(data).hexdigest()}


def _card(place: Path) -> dict[str, Any]:
    try:
        card = json.loads((place / CARD).read_text(encoding="utf-8"))
        if card["format"] != FORMAT:
            raise BadRequest(f"{place}: is of format {card['format']}; {FORMAT} is right")
        wanted = {"step": int, "identity": dict, "progress": dict, "files": dict}
        whole = all(isinstance(card[name], kind) for name, kind in wanted.items())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(place, f"{CARD} cannot be read: {error!r}") from None
    if not whole:
        raise _damaged(place, f"{CARD} lacks what it should say")
    return dict(card)


def _checked(path: Path, proof: Mapping[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _damaged(path.parent, f"{path.name} cannot be read: {error}") from None
    if len(data) != proof["bytes"]:
        said = f"{path.name} has {len(data)} bytes of {proof['bytes']}"
        raise _damaged(path.parent, f"{said}: it was cut short")
    if _proof(data) != proof:
        raise _damaged(path.parent, f"{path.name} is not what was written")
    return data


def _damaged(place: Path, why: str) -> BadRequest:
    return BadRequest(
        f"{place}: the checkpoint is damaged ({why}); remove this folder to go on from the "
        "checkpoint before it, if there is one"
    )


def _require_same(place: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    # through JSON, as the one found was: a tuple there is a list here
    was, here = _flat(found), _flat(json.loads(json.dumps(dict(wanted))))
    differ = sorted(name for name in {*was, *here} if was.get(name) != here.get(name))
    if differ:
        told = "; ".join(f"{one} was {was.get(one)!r}, is {here.get(one)!r}" for one in differ)
        raise BadRequest(
            f"{place}: is a checkpoint of another training: {told}. "
            "Go on with what it was begun with, or begin anew in another folder"
        )


def _flat(told: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested facts side by side: recipe.batch, and so on."""
    flat: dict[str, Any] = {}
    for name, what in told.items():
        if isinstance(what, Mapping):
            flat |= _flat(what, f"{before}{name}.")
        else:
            flat[before + name] = what
    return flat
