"""The applications that integration tests talk to."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from coordsvc.serving.local import Running
from tests.collector import Collector

STORY = " ".join(f"word{n}" for n in range(60))
"""What the scripted responder tells when asked for a story: sixty words, one piece each."""

SCRIPTED: dict[str, Any] = {
    "kind": "scripted",
    "rules": [
        {"match": "slow story", "reply": STORY, "chunks": 60, "chunk_delay_ms": 50},
        {"match": "story", "reply": STORY, "chunks": 60, "chunk_delay_ms": 2},
        {"match": "wait", "reply": "Waited.", "delay_ms": 700},
    ],
}


def application(name: str, prefix: str, args: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": prefix,
        "import_path": "coordsvc.serving.app:build",
        "args": {"metrics": {"port": 0}, **args},
    }


STEADY, FLOOD = "ck-steady-and-secret", "ck-flood-and-secret"
"""The keys of two tenants."""


def written_keys(folder: Path) -> Path:
    """Write the file of keys; return it."""
    keys = [
        {"name": name, "tenant": name, "sha256": sha256(word.encode()).hexdigest()}
        for name, word in (("steady", STEADY), ("flood", FLOOD))
    ]
    file = folder / "keys.yaml"
    file.write_text(json.dumps({"keys": keys}))  # JSON is YAML
    return file


METRICS_KEY, ADMIN_KEY = "metrics-key-of-some-length", "admin-key-of-some-length"


def written_port_keys(folder: Path) -> dict[str, Any]:
    """Write the keys of a port of instruments; return its settings."""
    files = {"key_file": METRICS_KEY, "admin_key_file": ADMIN_KEY}
    for field, key in files.items():
        (folder / field).write_text(key)
    return {"port": 0, **{field: str(folder / field) for field in files}}


@dataclass(frozen=True)
class Services:
    """Where each application of the session answers."""

    scripted: Running
    crowded: Running
    shared: Running
    """Of two tenants, who are known by their keys."""
    real: Running
    collector: Collector
    """Gets the traces of `scripted`: of turns alone whose client asks for it."""
