"""Samples in a folder, as Arrow: written once for a source and its options, then read again.

manifest.json     what they are made from, counts, drops; written last: without it, no cache
train/ held_out/  the samples, by `datasets`
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import coordsvc
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import Message
from coordsvc.core.units import AgentId
from coordsvc.training.samples import Sample, draw, held_out_trees
from coordsvc.training.sources import Source
from coordsvc.training.trees import Wanted, grow

__all__ = ["SPLITS", "Options", "Prepared", "Sample", "Split", "cache", "load", "prepare"]
FORMAT = 1
"""Of the folder, and of how samples are made: a new number makes old folders unread."""
MANIFEST = "manifest.json"
Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How samples are made."""

    turns: int = 3
    seed: int = 42
    held_out: float = 0.1
    """Share of the trees."""
    wanted: Wanted = Wanted()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder of samples."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """The samples' own: the same for the same samples."""
        return str(self.manifest["content"])

    def samples(self, agent: AgentId, split: Split) -> list[Sample]:
        """Return an agent's samples, always in the same order; raise `BadRequest` of none."""
        datasets = _datasets()
        try:
            rows = datasets.load_from_disk(str(self.folder / split))
            found = [_from_row(row) for row in rows if row["agent"] == agent]
        except (OSError, ValueError, KeyError) as error:
            raise BadRequest(
                f"{self.folder / split}: cannot be read ({error}); remove {self.folder}, and "
                "prepare the samples again"
            ) from error
        if not found:
            raise BadRequest(f"{self.folder}: has no {split} samples for {agent}")
        return found


def prepare(
    source: Source, options: Options, folder: Path | None, say: Callable[[str], None]
) -> tuple[Prepared, bool]:
    """Return the samples of a source, and whether they had to be made.

    `folder` None takes one of this user's cache. Raises `BadRequest` if there is no sample, or if
    the folder holds something else.
    """
    name = _name(source, options)
    place = folder or cache() / name[:16]
    if (place / MANIFEST).exists():
        found = load(place)
        if found.manifest["made_from"] == name:
            say(f"{place}: is there already, from the same messages and options")
            return found, False
        raise BadRequest(f"{place}: holds samples of other messages or options; name another --out")
    if place.exists() and any(place.iterdir()):
        raise BadRequest(f"{place}: is not empty, and holds no samples of ours; name another --out")
    say("reading")
    drops: Counter[str] = Counter()
    forest = grow(source.records, options.wanted)
    say(f"{len(forest.said)} messages in {len(forest.children.get(None, ()))} trees")
    samples = list(draw(forest, options.turns, drops))
    if not samples:
        raise BadRequest(
            f"{source.name}: makes no sample; dropped were {dict(forest.drops) or 'no messages'}"
        )
    held_out = held_out_trees(samples, options.held_out, options.seed)
    by_split = {
        "train": [one for one in samples if one.tree not in held_out],
        "held_out": [one for one in samples if one.tree in held_out],
    }
    manifest = {
        "format": FORMAT,
        "made_from": name,
        "source": source.name,
        "options": asdict(options),
        "content": _content(by_split),
        "trees": {split: len({one.tree for one in by_split[split]}) for split in SPLITS},
        "samples": {split: Counter(one.agent for one in by_split[split]) for split in SPLITS},
        "dropped_messages": {**forest.drops, **_bad(source)},
        "dropped_samples": dict(sorted(drops.items())),
        "versions": {name: version(name) for name in ("coordsvc", "datasets", "pyarrow")},
    }
    _write(place, by_split, manifest)
    return load(place), True


def load(folder: Path) -> Prepared:
    """Return the samples in a folder; raise `BadRequest` if it holds none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(
            f"{folder}: holds no samples ({MANIFEST}: {error.strerror}); "
            "make some with `coordsvc train prepare`"
        ) from error
    except ValueError as error:
        raise BadRequest(f"{folder}/{MANIFEST}: is no JSON: {error}") from error
    if manifest.get("format") != FORMAT:
        raise BadRequest(
            f"{folder}: was written by another version (format {manifest.get('format')}, here "
            f"{FORMAT}); prepare the samples again"
        )
    return Prepared(folder, manifest)


def cache() -> Path:
    """Return where this user's samples are kept; COORDSVC_CACHE_DIR moves it."""
    named = os.environ.get("COORDSVC_CACHE_DIR")
    if named:
        return Path(named) / "prepared"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "coordsvc" / "prepared"


def _write(
    place: Path, by_split: Mapping[str, Sequence[Sample]], manifest: Mapping[str, Any]
) -> None:
    """Write beside, then rename: a folder with a manifest is whole."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        raise BadRequest(f"{place}: cannot be written: {error}") from error
    try:
        for split, samples in by_split.items():
            columns = {
                name: [_row(sample)[name] for sample in samples]
                for name in ("agent", "messages", "target", "tree", "id")
            }
            dataset = _datasets().Dataset.from_dict(columns, features=_features())
            dataset.save_to_disk(str(beside / split), num_shards=1)
        (beside / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        beside.chmod(0o755)  # as a folder made in the usual way: whoever trains may be another user
        if place.exists():
            place.rmdir()  # it is empty
        beside.rename(place)
    except OSError as error:
        raise BadRequest(f"{place}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # once renamed, it is no longer there


def _datasets() -> Any:
    try:
        import datasets  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise BadRequest("samples are kept by `datasets`: pip install 'coordsvc[train]'") from error
    datasets.disable_progress_bars()
    return datasets


def _features() -> Any:
    text = _datasets().Value("string")
    return _datasets().Features(
        agent=text,
        messages=_datasets().List({"role": text, "content": text}),
        target=text,
        tree=text,
        id=text,
    )


def _row(sample: Sample) -> dict[str, Any]:
    return {
        "agent": str(sample.agent),
        "messages": [{"role": one.speaker, "content": one.text} for one in sample.messages],
        "target": sample.target,
        "tree": sample.tree,
        "id": sample.id,
    }


def _from_row(row: Mapping[str, Any]) -> Sample:
    return Sample(
        agent=AgentId(row["agent"]),
        messages=tuple(Message(one["role"], one["content"]) for one in row["messages"]),
        target=row["target"],
        tree=row["tree"],
        id=row["id"],
    )


def _name(source: Source, options: Options) -> str:
    """Return what the samples are told from again: source, options, and how samples are made."""
    here = [FORMAT, coordsvc.__version__, [_row(one) for one in _probe()]]
    told = json.dumps([here, source.fingerprint, asdict(options)], sort_keys=True)
    return blake2b(told.encode(), digest_size=16).hexdigest()


def _probe() -> list[Sample]:
    """Return the samples of one small tree: other ones, once a prompt or a rule has changed."""
    texts = {"a": ("- Tea\n- Milk", 0), "b": ("The kettle is hot. Pour some water.", 1)}
    question: dict[str, Any] = {
        "message_id": "q",
        "parent_id": None,
        "role": "prompter",
        "text": "What now?",
    }
    replies = [
        {"message_id": name, "parent_id": "q", "role": "assistant", "text": text, "rank": rank}
        for name, (text, rank) in texts.items()
    ]
    rows = [{**one, "message_tree_id": "q"} for one in (question, *replies)]
    return list(draw(grow(rows, Wanted()), 1, Counter()))


def _content(by_split: Mapping[str, Sequence[Sample]]) -> str:
    digest = blake2b(digest_size=16)
    for split in SPLITS:
        for sample in by_split[split]:
            digest.update(json.dumps([split, _row(sample)], sort_keys=True).encode())
    return digest.hexdigest()


def _bad(source: Source) -> dict[str, int]:
    return {"not_json": len(source.bad_lines)} if source.bad_lines else {}
