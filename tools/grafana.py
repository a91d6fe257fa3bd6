"""Writes the Grafana dashboards as JSON, from tools/dashboards: `python tools/grafana.py`.

With --check, writes nothing, and fails if something would change.
"""

import json
import sys
from pathlib import Path

from dashboards.overview import overview
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).parents[1] / "k8s/monitoring/dashboards"
BOARDS = {"coordsvc-overview.json": overview}


def main() -> int:
    """Write every dashboard, or check that each stands as it would be written."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for name, board in BOARDS.items():
        path = FOLDER / name
        text = json.dumps(board().build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"{name} is not what the code says; run: python tools/grafana.py")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"{path.relative_to(Path.cwd())} written")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
