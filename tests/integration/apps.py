"""The applications that integration tests talk to."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Services:
    """Where each application of the session answers."""

    scripted: Running
    crowded: Running
    real: Running
    collector: Collector
    """Gets the traces of `scripted`: of turns alone whose client asks for it."""
