"""Conversation trees, from messages in the schema of oasst1.

A message is kept if it and all above it can be used. One that cannot be is dropped for a reason
that is counted; what hangs below it goes with it, and is counted apart. The order in which messages
come does not matter.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any

from coordsvc.core.generation import Message, Speaker

SPEAKERS: dict[str, Speaker] = {"prompter": "user", "assistant": "assistant"}
"""oasst1's roles, in the service's words."""
UNRANKED = 1_000_000
"""Replies without a rank stand after those with one."""


class Drop(StrEnum):
    """Why a message is left out."""

    FIELDS = "missing_field"
    """Or one of a wrong kind."""
    ROLE = "other_role"
    """Neither prompter nor assistant."""
    DELETED = "deleted"
    EMPTY = "empty"
    SPAM = "spam"
    """Its reviewers said so."""
    LANGUAGE = "other_language"
    LONG = "too_long"
    UNWRITABLE = "half_characters"
    """JSON can say halves of characters, and no encoding can."""
    DOUBLED = "doubled_id"
    ORPHAN = "orphan"
    """Its parent is nowhere."""
    OTHER_TREE = "other_tree"
    """Than its parent's."""
    TURN = "out_of_turn"
    """The speaker before it is the same, or the first one is no prompter."""
    BELOW = "below_dropped"
    CYCLE = "cycle"
    """In one, or below one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages are used. Under each field: its unit, and the reason for its default."""

    lang: str = "en"
    """As the data names it; the service's prompts, and the plans drawn, are English."""
    text_max: int = 4_000
    """Characters of a message: some 1,000 tokens, half of a small model's context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a tree."""

    id: str
    parent: str | None
    tree: str
    message: Message
    rank: int | None = None
    """Among its siblings: 0 is the best."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """What reviewers said, by name: 0 (not at all) to 1."""


@dataclass(frozen=True, slots=True)
class Forest:
    """All messages that can be used."""

    said: Mapping[str, Said]
    """By id."""
    children: Mapping[str | None, tuple[Said, ...]]
    """By their parent's id, the best-ranked first; those of None are the roots."""
    drops: Mapping[str, int]
    """Messages left out, by reason."""

    def history(self, last: Said, messages_max: int) -> tuple[Message, ...]:
        """Return what was said up to a message and with it, no more than so many of the last."""
        found = [last.message]
        while last.parent is not None and len(found) < messages_max:
            last = self.said[last.parent]
            found.append(last.message)
        return tuple(reversed(found))


def grow(rows: Iterable[Mapping[str, Any]], wanted: Wanted) -> Forest:
    """Return the trees that the messages make."""
    drops: Counter[str] = Counter()
    posts: dict[str, Said] = {}
    mentioned: set[str] = set()
    for row in rows:
        if isinstance(row.get("message_id"), str):
            mentioned.add(row["message_id"])
        post = _read(row, wanted)
        if isinstance(post, Drop):
            drops[post] += 1
            continue
        if post.id in posts:
            drops[Drop.DOUBLED] += 1
            # of two that differ the same one is kept, whichever came first
            post = min(post, posts[post.id], key=repr)
        posts[post.id] = post
    return _joined(posts, mentioned, drops)


def _joined(posts: Mapping[str, Said], mentioned: set[str], drops: Counter[str]) -> Forest:
    reasons = {post.id: _misplaced(post, posts, mentioned) for post in posts.values()}
    below: defaultdict[str | None, list[Said]] = defaultdict(list)
    for post in sorted(posts.values(), key=_order):
        below[post.parent].append(post)
    kept = _reached((root for root in below[None] if not reasons[root.id]), below, reasons)
    ends = _reached((post for post in posts.values() if post.parent not in posts), below, {})
    cut = (child for name, reason in reasons.items() if reason for child in below.get(name, ()))
    fallen = _reached(cut, below, {})
    for name in posts.keys() - kept:
        why = (Drop.BELOW if name in fallen else reasons[name]) if name in ends else Drop.CYCLE
        assert why is not None, f"{name} is dropped for a reason"
        drops[why] += 1
    children = {
        parent: tuple(child for child in found if child.id in kept)
        for parent, found in below.items()
        if parent is None or parent in kept
    }
    said = {name: posts[name] for name in sorted(kept)}
    return Forest(said, children, dict(sorted(drops.items())))


def _order(post: Said) -> tuple[int, str]:
    return (UNRANKED if post.rank is None else post.rank, post.id)


def _reached(
    tops: Iterable[Said],
    below: Mapping[str | None, list[Said]],
    reasons: Mapping[str, Drop | None],
) -> set[str]:
    """Return the ids of the tops and of all below them, less those with a reason and below."""
    ahead = deque(tops)
    reached = {post.id for post in ahead}
    while ahead:
        for child in below.get(ahead.popleft().id, ()):
            if child.id not in reached and not reasons.get(child.id):
                reached.add(child.id)
                ahead.append(child)
    return reached


def _misplaced(post: Said, posts: Mapping[str, Said], mentioned: set[str]) -> Drop | None:
    """Tell why the message cannot stand where it stands; None if it can."""
    if post.parent is None:
        if post.message.speaker != "user":
            return Drop.TURN
        return None if post.tree == post.id else Drop.OTHER_TREE
    parent = posts.get(post.parent)
    if parent is None:
        return Drop.BELOW if post.parent in mentioned else Drop.ORPHAN
    if parent.tree != post.tree:
        return Drop.OTHER_TREE
    return Drop.TURN if parent.message.speaker == post.message.speaker else None


def _read(row: Mapping[str, Any], wanted: Wanted) -> Said | Drop:
    """Return the message in a row, or why there is none that can be used."""
    post = _said(row)
    if isinstance(post, Drop):
        return post
    if row.get("deleted") is True:
        return Drop.DELETED
    if not post.message.text.strip():
        return Drop.EMPTY
    if row.get("review_result") is False:
        return Drop.SPAM
    if row.get("lang") not in {None, wanted.lang}:
        return Drop.LANGUAGE
    if len(post.message.text) > wanted.text_max:
        return Drop.LONG
    return post


def _said(row: Mapping[str, Any]) -> Said | Drop:
    names = ("message_id", "message_tree_id", "role", "text")
    if "parent_id" not in row or not all(isinstance(row.get(name), str) for name in names):
        return Drop.FIELDS
    parent, rank = row["parent_id"], row.get("rank")
    if not (parent is None or isinstance(parent, str)) or not row["message_id"]:
        return Drop.FIELDS
    if row["role"] not in SPEAKERS:
        return Drop.ROLE
    if not all(_writable(one) for one in (*(row[name] for name in names), parent or "")):
        return Drop.UNWRITABLE
    return Said(
        id=row["message_id"],
        parent=parent,
        tree=row["message_tree_id"],
        message=Message(SPEAKERS[row["role"]], row["text"]),
        rank=rank if isinstance(rank, int) and not isinstance(rank, bool) else None,
        labels=_labels(row.get("labels")),
    )


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _labels(told: object) -> dict[str, float]:
    """Return labels by name, from the export's form or from the hub's columns."""
    if not isinstance(told, Mapping):
        return {}
    names, values = told.get("name"), told.get("value")
    if isinstance(names, list) and isinstance(values, list):
        shares = [(name, _share(value)) for name, value in zip(names, values, strict=False)]
    else:
        shares = [
            (name, _share(value.get("value") if isinstance(value, Mapping) else value))
            for name, value in told.items()
        ]
    return {str(name): share for name, share in sorted(shares) if share is not None}


def _share(told: object) -> float | None:
    if isinstance(told, bool) or not isinstance(told, int | float):
        return None
    return float(told) if isfinite(told) and 0 <= told <= 1 else None
