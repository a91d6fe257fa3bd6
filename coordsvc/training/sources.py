"""Where dialogues come from: a file of JSON lines, or a dataset of the hub."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from coordsvc.core.errors import BadRequest

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
HUB_SPLITS = ("train", "validation")
READ_BYTES = 1 << 20

Record = Mapping[str, Any]
OpenHub = Callable[[str, str, str | None], Iterable[Record]]
"""Returns the records of (dataset, split, revision) of the hub."""


@dataclass(slots=True)
class Source:
    """Some records, and what they are told from again."""

    name: str
    fingerprint: str
    """Changes when the records do."""
    records: Iterable[Record]
    bad_lines: list[int] = field(default_factory=list)
    """Numbers of the lines that are no JSON, once all are read; only where these are skipped."""


def find(
    dataset: str, revision: str | None, *, skip_bad: bool, hub: OpenHub | None = None
) -> Source:
    """Return the source that `dataset` names: a file if there is such a one, else of the hub.

    Raises `BadRequest` where neither is.
    """
    path = Path(dataset)
    if path.exists() or dataset.endswith(SUFFIXES):
        return _from_file(path, skip_bad=skip_bad)
    if dataset.count("/") != 1:
        raise BadRequest(
            f"--dataset {dataset}: there is no such file, and a dataset of the hub is owner/name"
        )
    return _from_hub(dataset, revision, hub or _open_hub)


def _from_file(path: Path, *, skip_bad: bool) -> Source:
    digest = blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise BadRequest(f"--dataset {path}: cannot be read: {error.strerror}") from error
    bad: list[int] = []
    return Source(
        str(path), digest.hexdigest(), _lines(path, bad if skip_bad else None), bad_lines=bad
    )


def _lines(path: Path, bad: list[int] | None) -> Iterator[Record]:
    """Yield each line's record; put the numbers of others into `bad`, or raise where it is None."""
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                record = _record(line)
                if record is not None:
                    yield record
                elif bad is None:
                    raise BadRequest(
                        f"{path}, line {number}: is no JSON object; one message a line is right "
                        "(--skip-bad leaves such lines out, and counts them)"
                    )
                else:
                    bad.append(number)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadRequest(f"{path}: cannot be read beyond line {number}: {error}") from error


def _record(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _from_hub(dataset: str, revision: str | None, hub: OpenHub) -> Source:
    name = f"{dataset}@{revision}" if revision else dataset

    def records() -> Iterator[Record]:
        for split in HUB_SPLITS:
            try:
                yield from hub(dataset, split, revision)
            except BadRequest:
                raise
            except Exception as error:
                # the hub's libraries raise some dozen kinds of errors, of several packages
                raise BadRequest(
                    f"--dataset {name}: cannot be read from the hub: {error}; without a network, "
                    "name a file of the same messages (.jsonl or .jsonl.gz)"
                ) from error

    digest = blake2b(f"hub\0{dataset}\0{revision}".encode(), digest_size=16)
    return Source(name, digest.hexdigest(), records())


def _open_hub(dataset: str, split: str, revision: str | None) -> Iterable[Record]:
    """Return one split, streamed: nothing is downloaded that is not read."""
    try:
        import datasets  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise BadRequest("datasets of the hub need: pip install 'coordsvc[train]'") from error
    streamed: Iterable[Record] = datasets.load_dataset(
        dataset, split=split, streaming=True, revision=revision
    )
    return streamed
