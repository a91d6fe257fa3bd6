"""What benches talk about: real dialogues from a file, or a few of our own."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coordsvc.core.errors import BadRequest

OWN: tuple[tuple[str, ...], ...] = (
    ("What should I pack for a week in the mountains?", "And if it snows?", "What can stay home?"),
    ("Why do leaves change colour in autumn?", "Do all trees do that?", "When is it best seen?"),
    ("Explain what a database index is.", "When does it make things slower?", "How do I choose?"),
    ("I slept badly. What could help tonight?", "Is coffee at noon a problem?", "Thank you. Else?"),
    ("How does a sailing boat go against the wind?", "What is tacking?", "Is it slow?"),
    ("Give me an idea for a dinner with lentils.", "I have no oven.", "What goes with it?"),
    ("Who was Ada Lovelace?", "What did she write about?", "Why is that remembered?"),
    ("How do I learn to touch type?", "How long does it take?", "Which mistakes are common?"),
)
"""Each is what one user says in turn."""
TEXT_MAX = 600
"""Characters of a message; longer ones would measure the prompt and nothing else."""


def questions(path: Path | None, dialogues: int) -> list[tuple[str, ...]]:
    """Return what each of `dialogues` users says in turn; they differ in their first words."""
    found = list(OWN if path is None else _from_trees(path))
    if not found:
        raise BadRequest(f"{path}: has no dialogue of messages up to {TEXT_MAX} characters")
    rounds = range(-(-dialogues // len(found)))
    # said again by another user, a dialogue must not be found whole in the prefix cache
    many = [(f"({n}) {first}" if n else first, *more) for n in rounds for first, *more in found]
    return many[:dialogues]


def _from_trees(path: Path) -> Iterable[tuple[str, ...]]:
    """Yield the user's side of the best-ranked path of each tree (oasst1's schema)."""
    children: defaultdict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for message in _messages(path):
        children[message["parent_id"]].append(message)
    for root in children[None]:
        said = [message["text"] for message in _best_path(root, children)]
        users = tuple(said[0::2])
        if all(0 < len(text) <= TEXT_MAX for text in users):
            yield users


def _best_path(
    root: Mapping[str, Any], children: Mapping[str | None, list[Mapping[str, Any]]]
) -> Iterable[Mapping[str, Any]]:
    message: Mapping[str, Any] | None = root
    while message is not None:
        yield message
        replies = children.get(message["message_id"], [])
        message = min(replies, key=_rank, default=None)


def _rank(message: Mapping[str, Any]) -> tuple[int, str]:
    rank = message.get("rank")
    return (10_000 if rank is None else int(rank), str(message["message_id"]))


def _messages(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path}: is not a file of JSON lines: {error}") from error
