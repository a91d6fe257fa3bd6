"""Small dialogues, written for tests, in the schema of oasst1."""

import json
from pathlib import Path


def said(name: str, parent: str | None, text: str, **changes) -> dict:
    """Return a message; its role follows from how deep its name is: t, t.a, t.a.b."""
    usual = {
        "message_id": name,
        "parent_id": parent,
        "message_tree_id": name.partition(".")[0],
        "role": ("prompter", "assistant")[name.count(".") % 2],
        "text": text,
        "lang": "en",
        "deleted": False,
        "review_result": True,
        "rank": None,
        "labels": None,
    }
    return usual | changes


def tree(name: str = "t", topic: str = "tea") -> list[dict]:
    """Return two exchanges about a topic: two replies, ranked, and one more below the better."""
    best = f"1. Heat fresh water for {topic}\n2. Wait four minutes: no longer\n3. Pour it"
    return [
        said(name, None, f"How do I make {topic}?"),
        said(f"{name}.a", name, best, rank=0),
        said(f"{name}.b", name, f"Just buy {topic}.", rank=1),
        said(f"{name}.a.c", f"{name}.a", "And when it is hot outside?"),
        said(f"{name}.a.c.d", f"{name}.a.c", f"Then drink {topic} over ice cubes.", rank=0),
    ]


def forest(count: int) -> list[dict]:
    """Return the messages of so many trees."""
    return [one for n in range(count) for one in tree(f"t{n:02}", f"tea number {n}")]


def write(path: Path, messages: list[dict]) -> Path:
    """Write a file of JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in messages), encoding="utf-8")
    return path
